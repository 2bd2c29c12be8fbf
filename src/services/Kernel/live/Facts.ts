/**
 * What a running kernel tells about itself, beyond what bpf(2) is called for by a plan.
 *
 * Everything is read when it is first asked for, and once: what is read is kept for as long as the value lives, for all
 * objects that are loaded through it. What modules change (symbols, types of modules) is read again after one has come or
 * gone. Failures are not kept.
 */
import * as Result from "effect/Result"
import * as Os from "node:os"
import * as Btf from "../../../btf/Btf.ts"
import * as Errno from "../abi/Errno.ts"
import * as KernelConfig from "../KernelConfig.ts"
import { fromErrno, type KernelError } from "../KernelError.ts"
import type { ModuleTypes, SymbolAddress } from "../KernelInfo.ts"
import * as Sys from "../sys/Sys.ts"
import * as BtfObjects from "./BtfObjects.ts"
import * as Configuration from "./Configuration.ts"
import { countCpus } from "./CpuList.ts"
import { type Files, machine } from "./Files.ts"
import * as Kallsyms from "./Kallsyms.ts"
import * as KernelTypes from "./KernelTypes.ts"
import { versionCode } from "./KernelVersion.ts"
import * as Modules from "./Modules.ts"

/** Facts of a running kernel. */
export interface Facts {
  readonly release: string
  readonly possibleCpus: () => Result.Result<number, KernelError>
  readonly kernelVersion: () => Result.Result<number, KernelError>
  /** The text of the kernel's configuration, in the format of `.config`. */
  readonly configuration: () => Result.Result<string, KernelError>
  /** The options that it sets. */
  readonly kconfig: () => Result.Result<ReadonlyMap<string, string>, KernelError>
  readonly vmlinux: () => Result.Result<Btf.Btf, KernelError>
  /** The addresses of these symbols, and whether the kernel hides addresses from this process. */
  readonly addresses: (names: ReadonlyArray<string>) => Result.Result<Kallsyms.Found, KernelError>
  /** The names of all symbols. */
  readonly symbolNames: () => Result.Result<SymbolNames, KernelError>
  /** The modules that are loaded now and have types. */
  readonly modules: () => ReadonlyArray<Modules.LoadedModule>
  /** Their types. One whose types cannot be read says why; one that went away meanwhile is left out. */
  readonly allModules: () => ReadonlyArray<ModuleTypes>
}

/** The names of all symbols of a kernel. */
export interface SymbolNames {
  readonly names: Kallsyms.Names
  /** Addresses are hidden, so names that stand for several symbols are not told from the others. */
  readonly hidden: boolean
}

/** What facts are read from. */
export interface Sources {
  /** bpf(2), for what may be asked there. */
  readonly sys: () => Result.Result<Sys.Sys, unknown>
  readonly files: Files
  /** `uname -r` */
  readonly release: string
  /** `uname -v` */
  readonly version: string
}

/** The machine that this process runs on. */
const sourcesOf = (sys: Sources["sys"]): Sources => ({
  sys,
  files: machine,
  release: Os.release(),
  version: Os.version()
})

/** An answer that is worked out once; failures are worked out again. */
const once = <A, E>(work: () => Result.Result<A, E>): () => Result.Result<A, E> => {
  let kept: Result.Result<A, E> | undefined
  return () => {
    if (kept !== undefined) return kept
    const worked = work()
    if (Result.isSuccess(worked)) kept = worked
    return worked
  }
}

/** `/proc/kallsyms` has five to fifteen megabytes. */
const maximumSymbols = 512 << 20

/** Files of one line. */
const maximumLine = 64 << 10

/** The lines that end: a table that was cut would give the beginning of a name the address of the whole one. */
const wholeLines = (bytes: Uint8Array): Uint8Array => bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1)

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1")

/** The types of vmlinux by a descriptor; `undefined` where this process may not ask, or where the kernel lists none. */
const vmlinuxObject = (sys: Sources["sys"]): Uint8Array | undefined => {
  const bound = sys()
  if (Result.isFailure(bound)) return undefined
  const ids = BtfObjects.ids(bound.success)
  for (const id of Result.isSuccess(ids) ? ids.success : []) {
    const object = BtfObjects.describe(bound.success, id)
    if (Result.isFailure(object)) return undefined
    if (object.success?.isKernels !== true || object.success.name !== BtfObjects.vmlinux) continue
    const bytes = BtfObjects.read(bound.success, object.success)
    return Result.isSuccess(bytes) ? bytes.success : undefined
  }
  return undefined
}

/** The facts of the kernel that this process runs on. */
export const make = (sys: Sources["sys"] = once(Sys.make)): Facts => fromSources(sourcesOf(sys))

/** The facts of the kernel behind these sources; tests replace them. */
export const fromSources = ({ files, release, sys, version }: Sources): Facts => {
  /** Reads a file; for messages `call` names what it is read for. */
  const read = (call: string, path: string, limit: number): Result.Result<Uint8Array, KernelError> =>
    Result.mapError(files.read(path, limit), (errno) => fromErrno(call, path, errno))

  /** The first file of these that can be read. Another failure than that it is not there, or not for us, is final. */
  const readFirst = (
    call: string,
    paths: ReadonlyArray<string>,
    limit: number,
    hint: string
  ): Result.Result<{ readonly path: string; readonly bytes: Uint8Array }, KernelError> => {
    let forbidden: KernelError | undefined
    for (const path of paths) {
      const bytes = read(call, path, limit)
      if (Result.isSuccess(bytes)) return Result.succeed({ path, bytes: bytes.success })
      const { errno } = bytes.failure
      if (errno === "EACCES" || errno === "EPERM") forbidden ??= bytes.failure
      else if (errno !== "ENOENT" && errno !== "ENOTDIR") return Result.fail(bytes.failure)
    }
    const reason = call === "VmlinuxTypes" ? { reason: "MissingKernelTypes" as const } : {}
    return Result.fail(forbidden ?? fromErrno(call, paths.join(", "), Errno.numbers.ENOENT, { hint, ...reason }))
  }

  const noTypes = (path: string, phrase: string): KernelError =>
    fromErrno("VmlinuxTypes", path, Errno.numbers.EBADMSG, { hint: `the types cannot be used: ${phrase}` })

  const vmlinux = once((): Result.Result<Btf.Btf, KernelError> => {
    const own = vmlinuxObject(sys)
    if (own !== undefined) {
      return Result.mapError(Btf.parse(own, { trusted: true }), (error) => noTypes("vmlinux", error.message))
    }
    return Result.flatMap(
      readFirst(
        "VmlinuxTypes",
        KernelTypes.vmlinuxCandidates(release),
        KernelTypes.maximumFile,
        "the kernel shows its types when it is built with CONFIG_DEBUG_INFO_BTF"
      ),
      ({ bytes, path }) => Result.mapError(KernelTypes.parseFile(path, bytes), (phrase) => noTypes(path, phrase))
    )
  })

  const modules = Modules.make(sys, files, vmlinux)

  const configuration = once(() =>
    Result.flatMap(
      readFirst(
        "Kconfig",
        [`/boot/config-${release}`, "/proc/config.gz"],
        Configuration.maximumLength,
        "the kernel shows its configuration when it is built with CONFIG_IKCONFIG_PROC; or give the options in a file"
      ),
      ({ bytes, path }) =>
        Result.mapError(
          Configuration.unpack(bytes),
          (hint) => fromErrno("Kconfig", path, Errno.numbers.EBADMSG, { hint })
        )
    )
  )

  let state: string | undefined
  // Kept for other objects' symbols: the kernel takes longer to write the table than it takes to look through it.
  let table: Uint8Array | undefined
  let addresses = new Map<string, SymbolAddress>()
  let hidden = false

  /** The symbol table as it is with the modules that are loaded now. */
  const symbols = (): Result.Result<Uint8Array, KernelError> => {
    const now = modules.fingerprint()
    if (now !== state) {
      state = now
      table = undefined
      addresses = new Map()
    }
    if (table !== undefined) return Result.succeed(table)
    return Result.map(read("Symbol", "/proc/kallsyms", maximumSymbols), (bytes) => {
      table = wholeLines(bytes)
      return table
    })
  }

  return {
    release,
    configuration,
    kconfig: once(() => Result.map(configuration(), KernelConfig.parse)),
    vmlinux,
    modules: modules.loaded,
    allModules: () =>
      modules.loaded().flatMap(({ name, types }): ReadonlyArray<ModuleTypes> => {
        const btf = types()
        if (Result.isSuccess(btf)) return [{ name, btf: btf.success }]
        if (btf.failure.errno === "ENOENT") return []
        return [{ name, btf: undefined, problem: btf.failure.message }]
      }),
    possibleCpus: once(() => {
      const path = "/sys/devices/system/cpu/possible"
      return Result.flatMap(read("PossibleCpus", path, maximumLine), (bytes) => {
        const count = countCpus(latin1(bytes))
        return count === undefined
          ? Result.fail(fromErrno("PossibleCpus", path, Errno.numbers.EBADMSG, { hint: "the file is no list of CPUs" }))
          : Result.succeed(count)
      })
    }),
    kernelVersion: once(() => {
      const signature = files.read("/proc/version_signature", maximumLine)
      const code = versionCode({
        signature: Result.isSuccess(signature) ? latin1(signature.success) : undefined,
        version,
        release
      })
      return code === undefined
        ? Result.fail(
          fromErrno("KernelVersion", release, Errno.numbers.EINVAL, {
            hint: "the release does not begin with three numbers"
          })
        )
        : Result.succeed(code)
    }),
    addresses: (names) =>
      Result.map(symbols(), (bytes) => {
        const wanted = names.filter((name) => !addresses.has(name))
        if (wanted.length > 0) {
          const found = Kallsyms.find(bytes, wanted)
          for (const [name, address] of found.of) addresses.set(name, address)
          hidden = found.hidden
        }
        return { of: new Map(names.map((name) => [name, addresses.get(name)])), hidden }
      }),
    symbolNames: () =>
      Result.map(symbols(), (bytes) => ({ names: Kallsyms.names(bytes), hidden: Kallsyms.find(bytes, []).hidden }))
  }
}
