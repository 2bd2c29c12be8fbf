/**
 * CPU lists as the kernel writes them: `0-3,8`.
 *
 * Source: the kernel's `Documentation/admin-guide/cputopology.rst`.
 */

/** More CPUs than any kernel is built for: a larger number is nonsense. */
const maximumCpus = 1 << 20

/** How many CPUs a list names; `undefined` when the text is not such a list or names none. */
export const countCpus = (text: string): number | undefined => {
  let count = 0
  let last = -1
  for (const range of text.trim().split(",")) {
    const match = /^(\d{1,7})(?:-(\d{1,7}))?$/.exec(range)
    if (match === null) return undefined
    const first = Number(match[1])
    const end = match[2] === undefined ? first : Number(match[2])
    if (first <= last || end < first || end >= maximumCpus) return undefined
    count += end - first + 1
    last = end
  }
  return count
}
