/**
 * BPF tokens: rights that a privileged process delegates to a user namespace through the mount of a bpf file system.
 *
 * A process in that namespace makes a token of the mount, and passes it along in the calls that need rights. So a token is a
 * decorator of the system calls: whatever is made through them, probes of features included, carries it.
 *
 * Source: `kernel/bpf/token.c`; reference page `load`, section 2.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { BPF_FS_MAGIC, Command, MapFlag } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import { fromErrno, type KernelError } from "../KernelError.ts"
import { errnoOf, type Sys } from "../sys/Sys.ts"

/** Where a bpf file system is looked for when nothing else is said. */
const defaultPath = "/sys/fs/bpf"

/** The flag, the same in the flags of all calls, that says that a token's descriptor is there. */
const BPF_F_TOKEN_FD = MapFlag.BPF_F_TOKEN_FD

/** The fields that take a token, and its flag, by command. */
const fields: ReadonlyMap<number, readonly [flags: Arena.Field, token: Arena.Field]> = new Map([
  [Command.BPF_MAP_CREATE, [Attr.MapCreate.fields.map_flags, Attr.MapCreate.fields.map_token_fd]],
  [Command.BPF_PROG_LOAD, [Attr.ProgLoad.fields.prog_flags, Attr.ProgLoad.fields.prog_token_fd]],
  [Command.BPF_BTF_LOAD, [Attr.BtfLoad.fields.btf_flags, Attr.BtfLoad.fields.btf_token_fd]],
  [Command.BPF_BTF_GET_FD_BY_ID, [Attr.BtfGetFdById.fields.open_flags, Attr.BtfGetFdById.fields.fd_by_id_token_fd]]
])

/** Puts the token into a call that takes one. An attribute that is laid out too short for it goes without. */
const pass = (token: number, command: number, arena: Arena.Arena): void => {
  const places = fields.get(command)
  if (places === undefined) return
  const [flags, descriptor] = places
  if (descriptor.offset + 4 > arena.layout.size) return
  const view = new DataView(arena.buffer)
  const before = view.getUint32(flags.offset, Arena.hostIsLittle)
  view.setUint32(flags.offset, (before | BPF_F_TOKEN_FD) >>> 0, Arena.hostIsLittle)
  view.setInt32(descriptor.offset, token, Arena.hostIsLittle)
}

/** The system calls with this token in every call that takes one. The kernel leaves the flag out of what it tells. */
export const using = (sys: Sys, token: number): Sys => ({
  ...sys,
  bpf: (command, arena) => {
    pass(token, command, arena)
    return sys.bpf(command, arena)
  },
  bpfDescriptor: (command, arena) => {
    pass(token, command, arena)
    return sys.bpfDescriptor(command, arena)
  },
  bpfAsync: (command, arena, done) => {
    pass(token, command, arena)
    sys.bpfAsync(command, arena, done)
  },
  bpfDescriptorAsync: (command, arena, done) => {
    pass(token, command, arena)
    sys.bpfDescriptorAsync(command, arena, done)
  }
})

const hintOf = (errno: Errno.Errno): string | undefined => {
  switch (errno) {
    case "EINVAL":
      return "this is not the root of a bpf file system, or the kernel has no BPF tokens, which are new in Linux 6.9"
    case "ENOENT":
      return "the file system delegates nothing: mount it with delegate_cmds, delegate_maps, delegate_progs and " +
        "delegate_attachs"
    case "EOPNOTSUPP":
      return "tokens are for processes in a user namespace of their own, and this one is in the first, where " +
        "capabilities decide"
    case "EPERM":
      return "the process must be in the user namespace that the file system was made in, with CAP_BPF there"
    default:
      return undefined
  }
}

const refused = (path: string, errnoNumber: number, hint?: string): KernelError => {
  const said = hint ?? hintOf(Errno.fromNumber(errnoNumber))
  return fromErrno("TokenCreate", path, errnoNumber, said === undefined ? {} : { hint: said })
}

/** Opens a folder for as long as `use` runs. */
const withFolder = (path: string, use: (fd: number) => Effect.Effect<number, KernelError>) =>
  Effect.suspend(() => {
    let fd: number
    try {
      fd = Fs.openSync(path, Fs.constants.O_RDONLY | Fs.constants.O_DIRECTORY)
    } catch (thrown) {
      return Effect.fail(refused(path, -errnoOf(thrown), "the folder of a bpf file system is expected"))
    }
    return Effect.ensuring(use(fd), Effect.sync(() => Fs.closeSync(fd)))
  })

const isBpffs = (path: string): boolean => {
  try {
    return Fs.statfsSync(path).type === BPF_FS_MAGIC
  } catch {
    return false
  }
}

/** Makes a token of the bpf file system that is mounted here. Its descriptor is closed with the scope. */
export const create = (sys: Sys, path: string): Effect.Effect<number, KernelError, Scope.Scope> =>
  Effect.acquireRelease(
    withFolder(path, (fd) =>
      Effect.suspend(() => {
        if (!isBpffs(path)) {
          return Effect.fail(refused(path, Errno.numbers.EINVAL, "this folder is not in a bpf file system"))
        }
        const arena = Arena.make(Attr.TokenCreate, { flags: 0, bpffs_fd: fd })
        return Effect.flatMap(Effect.fromResult(arena), (laidOut) => {
          const token = sys.bpfDescriptor(Command.BPF_TOKEN_CREATE, laidOut)
          return token < 0 ? Effect.fail(refused(path, -token)) : Effect.succeed(token)
        }).pipe(
          Effect.catchTag("FieldError", (error) => Effect.fail(refused(path, Errno.numbers.EINVAL, error.message)))
        )
      })),
    (token) => Effect.sync(() => sys.close(token))
  )

/**
 * The system calls with the token that was asked for: of the bpf file system at this path, or, for `default`, of the one at
 * `/sys/fs/bpf` where that gives one.
 */
export const wanted = (sys: Sys, token: string | undefined): Effect.Effect<Sys, KernelError, Scope.Scope> => {
  if (token === undefined || token === "") return Effect.succeed(sys)
  return token === "default"
    ? Effect.catch(
      Effect.map(create(sys, defaultPath), (made) => using(sys, made)),
      (error) => Effect.as(Effect.logDebug(`no BPF token: ${error.message}`), sys)
    )
    : Effect.map(create(sys, token), (made) => using(sys, made))
}
