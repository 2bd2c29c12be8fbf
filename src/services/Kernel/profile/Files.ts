/**
 * The files of a profile: `profile.json`, `btf/vmlinux`, `btf/MODULE`, `config`, `symbols`.
 *
 * A profile comes from anywhere, a colleague or a download: every file is bounded, names are checked before they become
 * paths, types are validated, and what is broken of a module concerns those who need the module.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import { attempt } from "../../../internal/attempt.ts"
import * as KernelInfo from "../KernelInfo.ts"
import type { KernelProfile, ProfileModule, SymbolNames } from "../KernelProfile.ts"
import * as Description from "./Description.ts"
import { isProfileError, ProfileError } from "./ProfileError.ts"

/**
 * Reads a file of a profile by its name within it, `btf/vmlinux`; `undefined` where there is none. A file of more than
 * `limit` bytes is refused, reason `TooLarge`.
 */
export type ReadFile = (name: string, limit: number) => Result.Result<Uint8Array | undefined, ProfileError>

const paths = { vmlinux: "btf/vmlinux", configuration: "config", symbols: "symbols" } as const

/** Most bytes of each file. Types of vmlinux have five million today, a configuration a quarter of one. */
const limits = { vmlinux: 0x1000_0000, module: 0x0400_0000, configuration: 0x0400_0000, symbols: 0x1000_0000 } as const

const modulePath = (name: string): string => `btf/${name}`

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/** Files that are in memory already, by their names. */
export const inMemory = (files: ReadonlyMap<string, Uint8Array>): ReadFile => (name, limit) => {
  const bytes = files.get(name)
  return bytes !== undefined && bytes.length > limit
    ? Result.fail(new ProfileError({ reason: "TooLarge", file: name, detail: `it has ${bytes.length} bytes` }))
    : Result.succeed(bytes)
}

/**
 * The names of symbols, a line for each, in order. A name that several symbols have stands there twice: a program cannot
 * name one of them.
 */
const encodeSymbols = (symbols: SymbolNames): Uint8Array => {
  const lines = [...symbols].map(([name, count]) => count === "one" ? `${name}\n` : `${name}\n${name}\n`).sort()
  return new TextEncoder().encode(lines.join(""))
}

const decodeSymbols = (bytes: Uint8Array): SymbolNames => {
  const symbols = new Map<string, "one" | "several">()
  for (const name of utf8.decode(bytes).split("\n")) {
    if (name !== "") symbols.set(name, symbols.has(name) ? "several" : "one")
  }
  return symbols
}

/** The profile as files by their names. */
export const encode = (profile: KernelProfile): ReadonlyMap<string, Uint8Array> => {
  const { configuration, modules, symbols, vmlinux } = profile
  const { architecture, byteOrder, features, kernelVersion, missing, pageSize, possibleCpus, release } = profile
  const files = new Map<string, Uint8Array>()
  if (vmlinux !== undefined) files.set(paths.vmlinux, vmlinux.bytes)
  const described = modules?.map(({ name, types }) => {
    const btf = types()
    if (Result.isFailure(btf)) return { name, problem: btf.failure.slice(0, Description.maximumReason) }
    files.set(modulePath(name), btf.success.bytes)
    return { name }
  })
  if (configuration !== undefined) files.set(paths.configuration, new TextEncoder().encode(configuration))
  if (symbols !== undefined) files.set(paths.symbols, encodeSymbols(symbols))
  const description: Description.Description = {
    formatVersion: Description.version,
    release,
    architecture,
    byteOrder,
    ...(pageSize === undefined ? {} : { pageSize }),
    ...(possibleCpus === undefined ? {} : { possibleCpus }),
    ...(kernelVersion === undefined ? {} : { kernelVersion: Description.versionText(kernelVersion) }),
    features,
    ...(described === undefined ? {} : { modules: described }),
    missing
  }
  files.set(Description.fileName, Description.encode(description))
  return files
}

/** The file, or `undefined`. Throws what `read` fails with. */
const get = (read: ReadFile, name: string, limit: number): Uint8Array | undefined => {
  const bytes = read(name, limit)
  if (Result.isFailure(bytes)) throw bytes.failure
  return bytes.success
}

const vmlinuxOf = (read: ReadFile, { byteOrder }: Description.Description): Btf.Btf | undefined => {
  const bytes = get(read, paths.vmlinux, limits.vmlinux)
  if (bytes === undefined) return undefined
  const btf = Btf.parse(bytes)
  if (Result.isFailure(btf)) {
    throw new ProfileError({ reason: "Types", file: paths.vmlinux, detail: btf.failure.message })
  }
  if (btf.success.byteOrder !== byteOrder) {
    throw new ProfileError({
      reason: "Types",
      file: paths.vmlinux,
      detail: `the types are ${btf.success.byteOrder}-endian, and ${Description.fileName} says ${byteOrder}`
    })
  }
  return btf.success
}

/** A module of a profile. Its file is read when its types are asked for, and once. */
const moduleOf = (
  read: ReadFile,
  vmlinux: Btf.Btf | undefined,
  { name, problem }: { readonly name: string; readonly problem?: string }
): ProfileModule => {
  const work = (): Result.Result<Btf.Btf, string> => {
    if (problem !== undefined) return Result.fail(problem)
    if (vmlinux === undefined) return Result.fail("the profile has no types of vmlinux, which these are split over")
    const path = modulePath(name)
    const bytes = read(path, limits.module)
    if (Result.isFailure(bytes)) return Result.fail(bytes.failure.message)
    if (bytes.success === undefined) return Result.fail(`the profile has no file ${path}`)
    return Result.mapError(Btf.parse(bytes.success, { base: vmlinux }), ({ message }) => `${path}: ${message}`)
  }
  let kept: Result.Result<Btf.Btf, string> | undefined
  return { name, types: () => kept ??= work() }
}

/** Own properties only: the names are of somebody else's choice. */
const own = <A>(record: Readonly<Record<string, A>>, name: string): A | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined

/** Reads a profile. The files of modules are read when they are needed; a broken one is its module's problem alone. */
export const decode = (read: ReadFile): Result.Result<KernelProfile, ProfileError> =>
  attempt(isProfileError, () => {
    const bytes = get(read, Description.fileName, Description.maximumLength)
    if (bytes === undefined) {
      throw new ProfileError({
        reason: "NoProfile",
        file: Description.fileName,
        detail: "there is no such file, so this is no kernel profile",
        hint: "effect-bpf kernel snapshot writes the profile of a running kernel"
      })
    }
    const description = Description.decode(bytes)
    if (Result.isFailure(description)) throw description.failure
    const { architecture, byteOrder, features, kernelVersion, missing, modules, pageSize, possibleCpus, release } =
      description.success
    const vmlinux = vmlinuxOf(read, description.success)
    const configuration = get(read, paths.configuration, limits.configuration)
    const symbols = get(read, paths.symbols, limits.symbols)
    return {
      release,
      architecture,
      byteOrder,
      pageSize,
      possibleCpus,
      kernelVersion: kernelVersion === undefined ? undefined : Description.versionCode(kernelVersion),
      features: Object.fromEntries(KernelInfo.features.flatMap((name) => {
        const has = own(features ?? {}, name)
        return has === undefined ? [] : [[name, has] as const]
      })),
      missing: missing ?? {},
      vmlinux,
      modules: modules?.map((module) => moduleOf(read, vmlinux, module)),
      configuration: configuration === undefined ? undefined : utf8.decode(configuration),
      symbols: symbols === undefined ? undefined : decodeSymbols(symbols)
    }
  })
