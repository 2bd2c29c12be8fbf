/**
 * Releases of mainline Linux, and since which of them something is there.
 *
 * Distributions carry features back into older kernels and configurations leave some out: what a release has is told to
 * people, and says of a kernel that nobody has tried what it most probably has.
 */

/** Since when mainline Linux has something. */
export interface Availability {
  /** The first release that has it, as `5.8`; `undefined` where that is not known. */
  readonly since: string | undefined
  /** Where the first is not known: a release that does not have it yet. */
  readonly after?: string
  /** Where the first is not known: a release that has it. */
  readonly by?: string
}

/** Nothing is known of it. */
export const unknownRelease: Availability = { since: undefined }

/** The first release that has it. */
export const since = (release: string): Availability => ({ since: release })

/** Major and minor number of a release, `6.1.0-47-cloud-amd64` or `5.4`; `undefined` where it does not begin with two numbers. */
export const numbersOf = (release: string): readonly [major: number, minor: number] | undefined => {
  const [, major, minor] = /^(\d{1,4})\.(\d{1,4})(?!\d)/.exec(release) ?? []
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)]
}

/** Negative where the first release is older, 0 where both are of the same version. Texts that are no release are the oldest. */
export const compare = (one: string, other: string): number => {
  const [major, minor] = numbersOf(one) ?? [0, 0]
  const [otherMajor, otherMinor] = numbersOf(other) ?? [0, 0]
  return major - otherMajor || minor - otherMinor
}

/** The newer of two releases. */
export const newer = (one: string | undefined, other: string): string =>
  one === undefined || compare(one, other) < 0 ? other : one

/** The later of two availabilities, both of which something needs. One that is not known is the later one. */
export const later = (one: Availability, other: Availability): Availability => {
  if (one.since === undefined) return one
  return other.since === undefined || compare(one.since, other.since) < 0 ? other : one
}

/** Whether a release has it; `undefined` where that is not known. */
export const isIn = ({ after, by, since }: Availability, release: string): boolean | undefined => {
  if (numbersOf(release) === undefined) return undefined
  if (since !== undefined) return compare(release, since) >= 0
  if (after !== undefined && compare(release, after) <= 0) return false
  return by !== undefined && compare(release, by) >= 0 ? true : undefined
}

/** In words: `5.8`, `later than 6.1, at the latest 6.12`, `not known`. */
export const availabilityText = ({ after, by, since }: Availability): string => {
  if (since !== undefined) return since
  const parts = [
    ...(after === undefined ? [] : [`later than ${after}`]),
    ...(by === undefined ? [] : [`at the latest ${by}`])
  ]
  return parts.length === 0 ? "not known" : parts.join(", ")
}

/**
 * Reads a table: lines that begin with a release, and have the names that came with it. The names of one release may take
 * several lines.
 */
export const table = (text: string, prefix = ""): ReadonlyMap<string, string> => {
  const found = new Map<string, string>()
  let release = ""
  for (const word of text.trim().split(/\s+/)) {
    if (/^\d+\.\d+$/.test(word)) release = word
    else found.set(prefix + word, release)
  }
  return found
}
