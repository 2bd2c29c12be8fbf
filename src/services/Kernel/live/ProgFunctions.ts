/**
 * Functions of loaded programs by their names: what a program that replaces or watches one is for.
 *
 * The kernel keeps the types that came with a program, and which of its functions is which of them. A function is looked up
 * among the program's own, since its types also describe the functions of other programs of its object.
 *
 * Source: reference page `load`, section 9.4.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Btf from "../../../btf/Btf.ts"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import type { KernelError } from "../KernelError.ts"
import type { Context } from "./Context.ts"
import { type Answer, enter, refused, type Request } from "./Enter.ts"
import type { ProgHandle } from "./Handle.ts"

/** How a program is told which function of another it is for. */
export interface Attached {
  readonly attach_prog_fd: number
  readonly attach_btf_id: number
}

/** The largest blob of types that room is made for, bytes. */
const maximumTypes = 0x1000_0000

/** Names that a message lists at most. */
const listed = 20

type Entered<L extends Arena.Layout> = Effect.Effect<Answer<L>, KernelError>

/** The lookup for one program that is to be loaded. */
interface Search {
  readonly context: Context
  /** The program that is to be loaded, for messages. */
  readonly subject: string
  /** The program whose function is looked up. */
  readonly target: ProgHandle
}

const ask = (
  { context, subject }: Search,
  fd: number,
  size: number,
  info: Request<typeof Attr.GetInfo>["values"]["info"]
): Entered<typeof Attr.GetInfo> =>
  enter(context.sys, {
    call: "ProgLoad",
    subject,
    command: Command.BPF_OBJ_GET_INFO_BY_FD,
    layout: Attr.GetInfo,
    values: { bpf_fd: fd, info_len: size, info }
  })

/** The identifier of the program's types, and which of them its functions are; none where the kernel does not tell. */
const describe = Effect.fnUntraced(function*(search: Search) {
  const { target } = search
  const { fields, size } = Attr.ProgInfo
  const counted = Arena.region((yield* ask(search, target.fd, size, Arena.struct(Attr.ProgInfo, {}))).arena, "info")
  const btfId = Arena.readNumber(counted, fields.btf_id)
  const count = Arena.readNumber(counted, fields.nr_func_info)
  const recordSize = Arena.readNumber(counted, fields.func_info_rec_size)
  if (btfId === 0) {
    return yield* refused("ProgLoad", search.subject, Errno.numbers.EINVAL, {
      hint: `the target program ${target.name} was loaded without BTF, so its functions have no names: ` +
        "compile it with -g and load it on a kernel that takes its types"
    })
  }
  if (count === 0 || recordSize < 8) return { btfId, functions: [] }
  const { arena } = yield* ask(
    search,
    target.fd,
    size,
    Arena.struct(Attr.ProgInfo, {
      nr_func_info: count,
      func_info_rec_size: recordSize,
      func_info: Arena.room(count * recordSize)
    })
  )
  const records = Arena.region(arena, "info", "func_info")
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
  const functions: Array<number> = []
  // A record is an instruction's number and a type's id, in the order of the machine.
  for (let at = 4; at + 4 <= records.length; at += recordSize) functions.push(view.getUint32(at, Arena.hostIsLittle))
  return { btfId, functions }
})

/** The descriptor of the program's types, closed with the scope. */
const openTypes = ({ context, subject, target }: Search, id: number): Effect.Effect<number, KernelError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.map(
      enter(context.sys, {
        call: "ProgLoad",
        subject,
        command: Command.BPF_BTF_GET_FD_BY_ID,
        layout: Attr.BtfGetFdById,
        values: { btf_id: id },
        answer: "Descriptor",
        hint: (errno) =>
          errno === "EPERM"
            ? `reading the types of the target program ${target.name} needs CAP_SYS_ADMIN`
            : errno === "ENOENT"
            ? `the types of the target program ${target.name} have gone`
            : undefined
      }),
      ({ result }) => result
    ),
    (fd) => Effect.sync(() => context.sys.close(fd))
  )

/** The program's types. */
const readTypes = Effect.fnUntraced(function*(search: Search, id: number) {
  const fd = yield* openTypes(search, id)
  const { fields, size } = Attr.BtfInfo
  const sized = Arena.region((yield* ask(search, fd, size, Arena.struct(Attr.BtfInfo, {}))).arena, "info")
  const length = Arena.readNumber(sized, fields.btf_size)
  const unusable = (why: string): KernelError =>
    refused("ProgLoad", search.subject, Errno.numbers.EBADMSG, {
      hint: `the types of the target program ${search.target.name} cannot be used: ${why}`
    })
  if (length > maximumTypes) return yield* unusable(`they have ${length} bytes`)
  const { arena } = yield* ask(
    search,
    fd,
    size,
    Arena.struct(Attr.BtfInfo, { btf: Arena.room(length), btf_size: length })
  )
  const types = Btf.parse(Arena.region(arena, "info", "btf"))
  return Result.isFailure(types) ? yield* unusable(types.failure.message) : types.success
})

const isFunction = (types: Btf.Btf, id: number): boolean =>
  id >= types.firstId && id < types.endId && Btf.kindOf(types, id) === Btf.BTF_KIND_FUNC

/** The names that a message lists. */
const list = (names: ReadonlyArray<string>): string =>
  names.length === 0
    ? "none is known"
    : `it has ${names.slice(0, listed).join(", ")}${names.length > listed ? `, and ${names.length - listed} more` : ""}`

/**
 * How to say to the kernel that a program is for this function of the target. Fails where the target has no types, or no
 * such function, with a hint that says which it has.
 */
export const find = (
  context: Context,
  subject: string,
  target: ProgHandle,
  name: string
): Effect.Effect<Attached, KernelError> =>
  Effect.scoped(Effect.gen(function*() {
    const search: Search = { context, subject, target }
    const { btfId, functions } = yield* describe(search)
    const types = yield* readTypes(search, btfId)
    const own = functions.filter((id) => isFunction(types, id))
    const id = own.length === 0
      ? Btf.findOne(types, name, Btf.BTF_KIND_FUNC)
      : own.find((id) => Btf.nameOf(types, id) === name)
    if (id !== undefined) return { attach_prog_fd: target.fd, attach_btf_id: id }
    return yield* refused("ProgLoad", subject, Errno.numbers.ESRCH, {
      hint: `the target program ${target.name} has no function ${name}; ${list(own.map((id) => Btf.nameOf(types, id)))}`
    })
  }))
