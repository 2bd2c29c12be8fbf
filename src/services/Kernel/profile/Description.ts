/**
 * `profile.json`: what of a kernel fits in a few lines, and what the profile does not have.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { isModuleName } from "../ModuleName.ts"
import { ProfileError } from "./ProfileError.ts"

/** The version of the format that this library writes, and the last that it reads. */
export const version = 1

/** Most modules of a profile; a kernel of a distribution has four thousand, of which a hundred are loaded. */
export const maximumModules = 16_384

/** Longest `profile.json`, bytes. */
export const maximumLength = 16 << 20

const text = (limit: number) => Schema.String.check(Schema.isMaxLength(limit))

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const isPowerOfTwo = Schema.makeFilter<number>((value) =>
  Number.isInteger(Math.log2(value)) || "Expected a power of two"
)

/** Longest reason why something is not there, characters. */
export const maximumReason = 4096

/** Why something is not there; words of a kernel or of a file system. */
const reason = text(maximumReason)

/** The name of a feature or fact. */
const key = text(64)

/** `LINUX_VERSION_CODE` of a version that is written as people write it; `undefined` for other text. */
export const versionCode = (text: string): number | undefined => {
  const [, major, minor, patch] = /^(\d{1,5})\.(\d{1,3})\.(\d{1,3})$/.exec(text) ?? []
  const [a, b, c] = [Number(major), Number(minor), Number(patch)]
  return a >= 1 && a <= 0xffff && b <= 0xff && c <= 0xff ? a * 0x1_0000 + b * 0x100 + c : undefined
}

/** The version of a code, as people write it. */
export const versionText = (code: number): string => `${code >>> 16}.${(code >>> 8) & 0xff}.${code & 0xff}`

const isVersion = Schema.makeFilter<string>((value) =>
  versionCode(value) !== undefined || "Expected a version, 6.1.158"
)

const Module = Schema.Struct({
  name: Schema.String.check(
    Schema.makeFilter<string>((name) => isModuleName(name) || "Expected the name of a module")
  ),
  /** Why its types are not in the profile; without it they are. */
  problem: Schema.optionalKey(reason)
})

/** The document. */
export const Description = Schema.Struct({
  formatVersion: Schema.Literal(version),
  release: text(256),
  architecture: text(64),
  byteOrder: Schema.Literals(["little", "big"]),
  pageSize: Schema.optionalKey(between(4096, 1 << 20).check(isPowerOfTwo)),
  possibleCpus: Schema.optionalKey(between(1, 1 << 20)),
  /** `6.1.158` */
  kernelVersion: Schema.optionalKey(Schema.String.check(isVersion)),
  /** By name. Features that this library does not know are of no use to it. */
  features: Schema.optionalKey(Schema.Record(key, Schema.Boolean)),
  modules: Schema.optionalKey(Schema.Array(Module).check(Schema.isMaxLength(maximumModules))),
  /** Why facts are not there, by their key here, or by the file that would hold them. */
  missing: Schema.optionalKey(Schema.Record(key, reason))
}).pipe(Schema.encodeKeys({
  formatVersion: "format_version",
  byteOrder: "byte_order",
  pageSize: "page_size",
  possibleCpus: "possible_cpus",
  kernelVersion: "kernel_version"
}))

/** What `profile.json` says. */
export type Description = typeof Description.Type

/** The name of the file. */
export const fileName = "profile.json"

const Versioned = Schema.Struct({ format_version: Schema.Number })

/** As much of a message about somebody else's text as a person will read. */
const clip = (message: string): string => message.length <= 400 ? message : `${message.slice(0, 400)}…`

const refuse = (reason: ProfileError["reason"], detail: string, hint?: string): ProfileError =>
  new ProfileError({ reason, file: fileName, detail, ...(hint === undefined ? {} : { hint }) })

/** Reads the document. Of its own version alone: a later one may mean something else by the same words. */
export const decode = (bytes: Uint8Array): Result.Result<Description, ProfileError> => {
  if (bytes.length > maximumLength) return Result.fail(refuse("TooLarge", `it has ${bytes.length} bytes`))
  const parsed = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))(new TextDecoder().decode(bytes))
  if (Result.isFailure(parsed)) return Result.fail(refuse("Description", `no JSON: ${clip(parsed.failure.message)}`))
  const versioned = Schema.decodeUnknownResult(Versioned)(parsed.success)
  if (Result.isSuccess(versioned) && versioned.success.format_version > version) {
    return Result.fail(refuse(
      "Version",
      `it is of version ${versioned.success.format_version} of the format, and ${version} is the last that is known here`,
      "make the profile again, or use a newer effect-bpf"
    ))
  }
  const described = Schema.decodeUnknownResult(Description)(parsed.success)
  if (Result.isFailure(described)) return Result.fail(refuse("Description", clip(described.failure.message)))
  const modules = described.success.modules ?? []
  return new Set(modules.map(({ name }) => name)).size === modules.length
    ? Result.succeed(described.success)
    : Result.fail(refuse("Description", "it names a module twice"))
}

/** Writes the document, for people to read as well. */
export const encode = (description: Description): Uint8Array =>
  new TextEncoder().encode(`${JSON.stringify(Schema.encodeSync(Description)(description), undefined, 2)}\n`)
