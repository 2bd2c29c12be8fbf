/**
 * The modules of the running kernel that have types: which are loaded now, and the types of those that somebody needs.
 *
 * Who may ask bpf(2) gets each by a descriptor, and knows by its id whether it is still the same; the types of a module
 * that was unloaded and loaded again are read again. Who may not reads `/sys/kernel/btf`, and forgets all when
 * `/proc/modules` shows that one has come or gone.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import * as Errno from "../abi/Errno.ts"
import { fromErrno, type KernelError } from "../KernelError.ts"
import { isModuleName } from "../ModuleName.ts"
import type { Sys } from "../sys/Sys.ts"
import * as BtfObjects from "./BtfObjects.ts"
import type { Files } from "./Files.ts"
import * as KernelTypes from "./KernelTypes.ts"

/** A module that is loaded and has types. */
export interface LoadedModule {
  readonly name: string
  /** Its types, split over those of vmlinux. Read and parsed when first asked for; `ENOENT` where it has gone since. */
  readonly types: () => Result.Result<Btf.Btf, KernelError>
}

/** The modules of a kernel. */
export interface Modules {
  /** Those that are loaded now. Types that were read before are kept for as long as their module stays. */
  readonly loaded: () => ReadonlyArray<LoadedModule>
  /** A text that changes when a module comes or goes. */
  readonly fingerprint: () => string
}

/** Bytes of `/proc/modules`, which has a line of a hundred for each. */
const maximumList = 16 << 20

const call = "ModuleTypes"

/**
 * What of `/proc/modules` tells one state of the kernel from another. How often a module is used, and by whom, is left
 * out: that changes all the time, and its symbols and types do not.
 */
export const fingerprint = (list: string): string =>
  list.split("\n").map((line) => {
    const [name, size, , , state, address] = line.split(" ")
    return [name, size, state, address].join(" ")
  }).join("\n")

/** The modules of the kernel under `sys` and `files`. */
export const make = (
  sys: () => Result.Result<Sys, unknown>,
  files: Files,
  vmlinux: () => Result.Result<Btf.Btf, KernelError>
): Modules => {
  /** What the BTF objects are: of an id, that never changes. `undefined` for those that are not a module's. */
  let objects = new Map<number, BtfObjects.BtfObject | undefined>()
  let parsed = new Map<number, Btf.Btf>()
  let state = ""
  let parsedFiles = new Map<string, Btf.Btf>()

  const fingerprintNow = (): string =>
    Result.match(files.read("/proc/modules", maximumList), {
      onFailure: () => "",
      onSuccess: (bytes) => fingerprint(new TextDecoder().decode(bytes))
    })

  const parse = (path: string, bytes: Uint8Array): Result.Result<Btf.Btf, KernelError> =>
    Result.flatMap(vmlinux(), (base) =>
      Result.mapError(
        Btf.parse(bytes, { base, trusted: true }),
        (error) => fromErrno(call, path, Errno.numbers.EBADMSG, { hint: error.message })
      ))

  const readFile = (name: string): Result.Result<Btf.Btf, KernelError> => {
    const path = `${KernelTypes.sysfsFolder}/${name}`
    const kept = parsedFiles.get(name)
    if (kept !== undefined) return Result.succeed(kept)
    const bytes = files.read(path, KernelTypes.maximumBlob)
    if (Result.isFailure(bytes)) return Result.fail(fromErrno(call, path, bytes.failure))
    return Result.map(parse(path, bytes.success), (btf) => {
      parsedFiles.set(name, btf)
      return btf
    })
  }

  const readObject = (sys: Sys, object: BtfObjects.BtfObject): Result.Result<Btf.Btf, KernelError> => {
    const kept = parsed.get(object.id)
    if (kept !== undefined) return Result.succeed(kept)
    const bytes = BtfObjects.read(sys, object)
    if (Result.isFailure(bytes)) return Result.fail(fromErrno(call, object.name, bytes.failure))
    if (bytes.success === undefined) return Result.fail(fromErrno(call, object.name, Errno.numbers.ENOENT))
    return Result.map(parse(object.name, bytes.success), (btf) => {
      parsed.set(object.id, btf)
      return btf
    })
  }

  /** The modules among the BTF objects; `undefined` where they cannot be asked for. */
  const listObjects = (sys: Sys): ReadonlyArray<BtfObjects.BtfObject> | undefined => {
    const ids = BtfObjects.ids(sys)
    if (Result.isFailure(ids)) return undefined
    const now: typeof objects = new Map()
    // An object outlives its module while a program holds it: of two of one name, the later one is the module's.
    const byName = new Map<string, BtfObjects.BtfObject>()
    for (const id of ids.success) {
      let object = objects.get(id)
      if (!objects.has(id)) {
        const described = BtfObjects.describe(sys, id)
        if (Result.isFailure(described)) return undefined
        if (described.success === undefined) continue
        object = described.success.isKernels && isModuleName(described.success.name) ? described.success : undefined
      }
      now.set(id, object)
      if (object !== undefined) byName.set(object.name, object)
    }
    objects = now
    parsed = new Map([...parsed].filter(([id]) => now.has(id)))
    return [...byName.values()]
  }

  const listFiles = (): ReadonlyArray<string> => {
    const now = fingerprintNow()
    if (now !== state) {
      state = now
      parsedFiles = new Map()
    }
    return Result.match(files.list(KernelTypes.sysfsFolder), {
      onFailure: () => [],
      onSuccess: (names) => names.filter(isModuleName).sort()
    })
  }

  return {
    fingerprint: fingerprintNow,
    loaded: () => {
      const bound = sys()
      const listed = Result.isSuccess(bound) ? listObjects(bound.success) : undefined
      return listed !== undefined && Result.isSuccess(bound)
        ? listed.map((object) => ({ name: object.name, types: () => readObject(bound.success, object) }))
        : listFiles().map((name) => ({ name, types: () => readFile(name) }))
    }
  }
}
