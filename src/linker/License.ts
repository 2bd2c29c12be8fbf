/**
 * One license out of many.
 *
 * The rule: equal licenses are one; different ones that are all compatible with the GPL, by the kernel's list, become
 * `GPL`, the only license that all of them grant; every other mix is refused. The order of the files and the way in
 * which they are linked step by step make no difference: the licenses form a semilattice, with `GPL` above all that are
 * compatible with it and the refusal above everything.
 *
 * Source: the kernel's `include/linux/license.h`.
 */
import { type Input, type InputSection, within } from "./Input.ts"
import { refuse } from "./LinkError.ts"

/** How licenses are put together: by the rule above, or only where they are equal to the byte, as in libbpf. */
export type LicenseRule = "join" | "strict"

const GPL = "GPL"

const compatible: ReadonlySet<string> = new Set([
  GPL,
  "GPL v2",
  "GPL and additional rights",
  "Dual BSD/GPL",
  "Dual MIT/GPL",
  "Dual MPL/GPL"
])

/** The license of a program that has parts under both; `undefined` where there is none. */
export const joinLicenses = (one: string, two: string): string | undefined => {
  if (one === two) return one
  return compatible.has(one) && compatible.has(two) ? GPL : undefined
}

/** The section that holds the license, and that which holds the kernel's version for old programs. */
const singular: ReadonlyArray<string> = ["license", "version"]

/** The sections of which the output has one, by name: that of the first file that has it, and what it is to say. */
export type Singular = Map<string, { readonly section: InputSection; license: string; readonly files: Array<string> }>

/** Keeps the first of each of these sections, checks that further ones go with it, and skips them. Throws `LinkError`. */
export const addSingular = (found: Singular, input: Input, rule: LicenseRule): void => {
  for (const name of singular) {
    for (const section of input.sections) {
      if (section.name !== name || section.use !== "Data") continue
      const license = textOf(section.data)
      const first = found.get(name)
      if (first === undefined) {
        found.set(name, { section, license, files: [input.name] })
        continue
      }
      section.use = "Skipped"
      first.files.push(input.name)
      const isSame = isEqual(first.section.data, section.data)
      if (isSame && first.license === textOf(first.section.data)) continue
      const joined = name === "license" && rule === "join" ? joinLicenses(first.license, license) : undefined
      if (joined === undefined) {
        const detail = name === "license"
          ? `the license ${JSON.stringify(license)} does not go with ${JSON.stringify(first.license)}`
          : "the files are for different versions of the kernel"
        refuse("License", detail, {
          ...within(input, section),
          sides: [first.section, section].map(({ data, input }) => ({
            file: input.name,
            section: name,
            definition: name === "license" ? JSON.stringify(textOf(data)) : hex(data)
          })),
          ...(name === "license" && rule === "strict" && joinLicenses(first.license, license) !== undefined
            ? { hint: "without strict licenses they would be joined" }
            : {})
        })
      } else first.license = joined
    }
  }
}

const textOf = (bytes: Uint8Array): string => {
  const nul = bytes.indexOf(0)
  return new TextDecoder("latin1").decode(nul < 0 ? bytes : bytes.subarray(0, nul))
}

const isEqual = (one: Uint8Array, two: Uint8Array): boolean =>
  one.length === two.length && one.every((byte, index) => byte === two[index])

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes.subarray(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join(" ")

/** Writes what was agreed on over what the first file says: `GPL` is the shortest of the licenses that are joined. */
export const writeLicense = (found: Singular, section: InputSection, bytes: Uint8Array): void => {
  const first = found.get(section.name)
  if (first === undefined || first.section !== section || section.name !== "license") return
  if (first.license === textOf(section.data)) return
  bytes.fill(0)
  for (let at = 0; at < first.license.length; at++) bytes[at] = first.license.charCodeAt(at)
}
