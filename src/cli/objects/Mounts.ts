/**
 * The file systems that are mounted, as procfs tells.
 */
import * as Fs from "node:fs"

/** A mounted file system. */
export interface Mount {
  readonly folder: string
  readonly type: string
  /** As they are written there: `rw,relatime,delegate_cmds=any`. */
  readonly options: string
}

/** Spaces and the like are written as `\040`; the text is Latin-1, a character for each byte. */
const octal = (text: string): string =>
  Buffer.from(
    text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8) & 0xff)),
    "latin1"
  ).toString("utf8")

/** The mounts in the text of `/proc/self/mounts`, read as Latin-1: names are bytes there. */
export const parse = (text: string): ReadonlyArray<Mount> =>
  text.split("\n").flatMap((line) => {
    const [, folder, type, options] = line.split(" ")
    return folder === undefined || type === undefined || options === undefined
      ? []
      : [{ folder: octal(folder), type, options: octal(options) }]
  })

/** What is mounted where this process sees it, in the order of mounting; nothing where procfs cannot be read. */
export const mounts = (): ReadonlyArray<Mount> => {
  try {
    return parse(Fs.readFileSync("/proc/self/mounts", "latin1"))
  } catch {
    return []
  }
}
