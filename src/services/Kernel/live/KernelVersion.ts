/**
 * The version of the running kernel as bpf programs were once asked to give it, `LINUX_VERSION_CODE`.
 *
 * Distributions put their own numbers into `uname -r`, so the upstream version is looked for where they keep it.
 *
 * Source: reference page `features`, section 8.
 */

/** Where a version can be read; `undefined` and `""` where the machine has none. */
export interface VersionSources {
  /** `/proc/version_signature`, which Ubuntu has: the third word is the upstream version. */
  readonly signature: string | undefined
  /** `uname -v`, which on Debian contains `Debian a.b.c`. */
  readonly version: string
  /** `uname -r` */
  readonly release: string
}

const numbers = /^(\d+)\.(\d+)\.(\d+)/

/** `LINUX_VERSION_CODE` of the version that the sources give; `undefined` when none of them has three numbers. */
export const versionCode = (sources: VersionSources): number | undefined => {
  const candidates = [
    sources.signature?.trim().split(/\s+/)[2],
    /Debian (\d+\.\d+\.\d+)/.exec(sources.version)?.[1],
    sources.release
  ]
  for (const candidate of candidates) {
    const match = numbers.exec(candidate ?? "")
    if (match === null) continue
    const [major, minor, patch] = [Number(match[1]), Number(match[2]), Number(match[3])]
    // The kernel itself saturates the last number, which has outgrown its byte in long-lived branches.
    if (major <= 0xffff && minor <= 0xff) return (major << 16) + (minor << 8) + Math.min(patch, 0xff)
  }
  return undefined
}
