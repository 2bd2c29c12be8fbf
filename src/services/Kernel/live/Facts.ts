/**
 * What the files of a running kernel tell about it. Each file is read when something of it is first asked for; answers
 * are kept as long as the value lives, those about modules until a module comes or goes. Failures are not kept.
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Zlib from "node:zlib"
import type { Btf } from "../../../btf/Btf.ts"
import * as Errno from "../abi/Errno.ts"
import { fromErrno, type KernelError } from "../KernelError.ts"
import type { ModuleTypes, SymbolAddress } from "../KernelInfo.ts"
import { errnoOf } from "../sys/Sys.ts"
import { countCpus } from "./CpuList.ts"
import * as Kallsyms from "./Kallsyms.ts"
import * as KernelConfig from "../KernelConfig.ts"
import * as KernelTypes from "./KernelTypes.ts"
import { versionCode } from "./KernelVersion.ts"

/** Facts that stand in files. */
export interface Facts {
  readonly release: string
  readonly possibleCpus: () => Result.Result<number, KernelError>
  readonly kernelVersion: () => Result.Result<number, KernelError>
  readonly kconfig: () => Result.Result<ReadonlyMap<string, string>, KernelError>
  readonly vmlinux: () => Result.Result<Btf, KernelError>
  /** The addresses of these symbols, and whether the kernel hides addresses from this process. */
  readonly addresses: (names: ReadonlyArray<string>) => Result.Result<Addresses, KernelError>
  /** The modules that have BTF, by name. */
  readonly modules: () => ReadonlyArray<string>
  /** The BTF of a module, split over that of vmlinux. */
  readonly module: (name: string) => Result.Result<Btf, KernelError>
  /** All of them. One that cannot be read says why; one that went away meanwhile is left out. */
  readonly allModules: () => ReadonlyArray<ModuleTypes>
}

/** Addresses of symbols by name. */
export interface Addresses {
  readonly of: ReadonlyMap<string, SymbolAddress>
  /** All addresses are 0, because this process may not see them. */
  readonly hidden: boolean
}

/** Reads a file; for messages `call` names what it is read for. */
const read = (call: string, path: string): Result.Result<Buffer, KernelError> => {
  try {
    return Result.succeed(Fs.readFileSync(path))
  } catch (thrown) {
    return Result.fail(fromErrno(call, path, -errnoOf(thrown)))
  }
}

/** The first file of these that is there. One that is there and cannot be read is a failure. */
const readFirst = (
  call: string,
  paths: ReadonlyArray<string>,
  hint: string
): Result.Result<{ readonly path: string; readonly bytes: Buffer }, KernelError> => {
  for (const path of paths) {
    const bytes = read(call, path)
    if (Result.isSuccess(bytes)) return Result.succeed({ path, bytes: bytes.success })
    if (bytes.failure.errno !== "ENOENT" && bytes.failure.errno !== "ENOTDIR") return Result.fail(bytes.failure)
  }
  return Result.fail(fromErrno(call, paths.join(", "), Errno.numbers.ENOENT, { hint }))
}

const textOrNothing = (path: string): string =>
  Result.match(read("read", path), { onFailure: () => "", onSuccess: String })

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

/** A symbol that every kernel has, at an address that is not 0. */
const known = "_stext"

/** The configuration unpacked has a quarter of a megabyte; one of more than this is none. */
const maximumConfig = 64 << 20

const unpack = (path: string, bytes: Buffer): Result.Result<string, KernelError> => {
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b
  if (!isGzip) return Result.succeed(bytes.toString("latin1"))
  try {
    return Result.succeed(Zlib.gunzipSync(bytes, { maxOutputLength: maximumConfig }).toString("latin1"))
  } catch {
    return Result.fail(fromErrno("Kconfig", path, Errno.numbers.EBADMSG, { hint: "the file is damaged" }))
  }
}

/** Whether a name can be a module's file: nothing that leads elsewhere. */
const isModuleName = (name: string): boolean =>
  /^[A-Za-z0-9_.-]+$/.test(name) && !name.startsWith(".") && name !== "vmlinux"

/** The facts of the kernel that this process runs on. */
export const make = (): Facts => {
  const release = Os.release()
  let loaded = ""
  let addresses = new Map<string, SymbolAddress>()
  let moduleTypes = new Map<string, Btf>()

  /** Forgets what a module's coming or going may have changed. */
  const revalidate = (): void => {
    const now = textOrNothing("/proc/modules")
    if (now === loaded) return
    loaded = now
    addresses = new Map()
    moduleTypes = new Map()
  }

  const vmlinux = once(() =>
    Result.flatMap(
      readFirst(
        "VmlinuxTypes",
        KernelTypes.vmlinuxCandidates(release),
        "the kernel shows its types when it is built with CONFIG_DEBUG_INFO_BTF"
      ),
      ({ bytes, path }) =>
        Result.mapError(KernelTypes.parseFile(path, bytes), (phrase) =>
          fromErrno("VmlinuxTypes", path, Errno.numbers.EBADMSG, { hint: `the file is no BTF: ${phrase}` }))
    )
  )

  const modules = (): ReadonlyArray<string> => {
    try {
      return Fs.readdirSync(KernelTypes.sysfsFolder).filter(isModuleName)
    } catch {
      return []
    }
  }

  const module = (name: string): Result.Result<Btf, KernelError> => {
    revalidate()
    const kept = moduleTypes.get(name)
    if (kept !== undefined) return Result.succeed(kept)
    if (!isModuleName(name)) return Result.fail(fromErrno("ModuleTypes", name, Errno.numbers.EINVAL))
    const path = `${KernelTypes.sysfsFolder}/${name}`
    return Result.flatMap(vmlinux(), (base) =>
      Result.flatMap(read("ModuleTypes", path), (bytes) => {
        const parsed = KernelTypes.parseFile(path, bytes, base)
        if (Result.isFailure(parsed)) {
          return Result.fail(fromErrno("ModuleTypes", path, Errno.numbers.EBADMSG, { hint: parsed.failure }))
        }
        moduleTypes.set(name, parsed.success)
        return Result.succeed(parsed.success)
      }))
  }

  return {
    release,
    vmlinux,
    modules,
    module,
    allModules: () =>
      modules().flatMap((name): ReadonlyArray<ModuleTypes> => {
        const btf = module(name)
        if (Result.isSuccess(btf)) return [{ name, btf: btf.success }]
        if (btf.failure.errno === "ENOENT") return []
        return [{ name, btf: undefined, problem: btf.failure.message }]
      }),
    possibleCpus: once(() => {
      const path = "/sys/devices/system/cpu/possible"
      return Result.flatMap(read("PossibleCpus", path), (bytes) => {
        const count = countCpus(bytes.toString("latin1"))
        return count === undefined
          ? Result.fail(fromErrno("PossibleCpus", path, Errno.numbers.EBADMSG, { hint: "the file is no list of CPUs" }))
          : Result.succeed(count)
      })
    }),
    kernelVersion: once(() => {
      const signature = textOrNothing("/proc/version_signature")
      const code = versionCode({
        signature: signature === "" ? undefined : signature,
        version: Os.version(),
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
    kconfig: once(() =>
      Result.flatMap(
        readFirst(
          "Kconfig",
          [`/boot/config-${release}`, "/proc/config.gz"],
          "the kernel shows its configuration when it is built with CONFIG_IKCONFIG_PROC; or give the options in a file"
        ),
        ({ bytes, path }) => Result.map(unpack(path, bytes), KernelConfig.parse)
      )
    ),
    addresses: (names) => {
      revalidate()
      const wanted = [known, ...names].filter((name) => !addresses.has(name))
      if (wanted.length > 0) {
        const table = read("Symbol", "/proc/kallsyms")
        if (Result.isFailure(table)) return Result.fail(table.failure)
        for (const [name, address] of Kallsyms.addresses(table.success.toString("latin1"), wanted)) {
          addresses.set(name, address)
        }
      }
      return Result.succeed({
        of: new Map(names.map((name) => [name, addresses.get(name)])),
        hidden: addresses.get(known) === 0n
      })
    }
  }
}
