/**
 * CPU lists as the kernel writes them: `0-3,8`.
 *
 * Source: the kernel's `Documentation/admin-guide/cputopology.rst`.
 */

/** More CPUs than any kernel is built for: a larger number is nonsense. */
const maximumCpus = 1 << 20

/** The CPUs of a list as ranges, first and last; `undefined` when the text is not such a list or names none. */
const rangesOf = (text: string): ReadonlyArray<readonly [number, number]> | undefined => {
  const ranges: Array<readonly [number, number]> = []
  let last = -1
  for (const range of text.trim().split(",")) {
    const match = /^(\d{1,7})(?:-(\d{1,7}))?$/.exec(range)
    if (match === null) return undefined
    const first = Number(match[1])
    const end = match[2] === undefined ? first : Number(match[2])
    if (first <= last || end < first || end >= maximumCpus) return undefined
    ranges.push([first, end])
    last = end
  }
  return ranges
}

/** How many CPUs a list names; `undefined` when the text is not such a list or names none. */
export const countCpus = (text: string): number | undefined =>
  rangesOf(text)?.reduce((count, [first, end]) => count + end - first + 1, 0)

/** The CPUs that a list names, in rising order; `undefined` when the text is not such a list or names none. */
export const parseCpus = (text: string): ReadonlyArray<number> | undefined =>
  rangesOf(text)?.flatMap(([first, end]) => Array.from({ length: end - first + 1 }, (_, index) => first + index))
