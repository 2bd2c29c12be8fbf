/**
 * The links of a kernel: finding those that a reference names, and all of them, with what is shown of each.
 */
import * as Effect from "effect/Effect"
import type { LinkInfo } from "../../services/Kernel/calls/LinkCalls.ts"
import type { LinkDetail } from "../../services/Kernel/calls/LinkCalls.ts"
import { type CallError, withSubject } from "../../services/Kernel/KernelError.ts"
import type { LinkRef } from "../../services/Kernel/Ref.ts"
import * as Os from "node:os"
import * as Fs from "node:fs"
import { type Objects, openPin } from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import { UsageError } from "../Usage.ts"

/** A link that is open, and what is looked up for it. */
export interface OpenLink {
  readonly ref: LinkRef
  readonly info: LinkInfo
  readonly detail: LinkDetail
  /** The type of a tracing link's program, where it could be asked. */
  readonly progType: number | undefined
  /** Names of network devices by their numbers. */
  readonly devices: ReadonlyMap<number, string>
  /** Names of functions of the kernel by their addresses. */
  readonly functions: ReadonlyMap<bigint, string>
}

/** The names of network devices of this process's network namespace, by their numbers. */
const deviceNames = (): ReadonlyMap<number, string> => {
  const names = new Map<number, string>()
  try {
    for (const name of Fs.readdirSync("/sys/class/net")) {
      const index = Number(Fs.readFileSync(`/sys/class/net/${name}/ifindex`, "utf8"))
      if (Number.isInteger(index)) names.set(index, name)
    }
  } catch {
    // No sysfs: the loopback device has its number everywhere.
    if (Os.platform() === "linux") names.set(1, "lo")
  }
  return names
}

/** The names of functions at these addresses. */
const functionNames = Effect.fnUntraced(function*({ session }: Objects, addresses: ReadonlyArray<bigint>) {
  const names = new Map<bigint, string>()
  const wanted = new Set(addresses.filter((address) => address !== 0n).map((each) => each.toString(16)))
  if (wanted.size === 0) return names
  const list = yield* Effect.orElseSucceed(
    session.call({ _tag: "SymbolListRead", list: "kallsyms" }),
    (): undefined => undefined
  )
  for (const line of new TextDecoder().decode(list).split("\n")) {
    const [address = "", , name = ""] = line.split(/[ \t]+/, 3)
    const short = address.replace(/^0+/, "")
    if (wanted.has(short) && !names.has(BigInt(`0x${short}`))) names.set(BigInt(`0x${short}`), name)
  }
  return names
})

const progTypeOf = Effect.fnUntraced(function*({ session }: Objects, { detail, progId }: LinkInfo) {
  if (detail._tag !== "Tracing" || progId === 0) return undefined
  const prog = session.fresh("Prog")
  const asked = Effect.andThen(
    session.call({ _tag: "GetById", as: prog, id: progId }),
    session.call({ _tag: "ProgGetInfo", prog })
  )
  const info = yield* Effect.orElseSucceed(asked, (): undefined => undefined)
  yield* Effect.ignore(session.call({ _tag: "Close", ref: prog }))
  return info?.type
})

const described = Effect.fnUntraced(function*(
  objects: Objects,
  ref: LinkRef
): Effect.fn.Return<OpenLink, CallError> {
  const info = yield* objects.session.call({ _tag: "LinkGetInfo", link: ref })
  const { detail } = info
  const isOnDevice = detail._tag === "Xdp" || detail._tag === "Tcx" || detail._tag === "Netkit"
  return {
    ref,
    info,
    detail,
    progType: yield* progTypeOf(objects, info),
    devices: isOnDevice ? deviceNames() : new Map(),
    functions: detail._tag === "KprobeMulti"
      ? yield* functionNames(objects, detail.probes.map(({ address }) => address))
      : new Map()
  }
})

/** The error, where it is not that the link has gone meanwhile. */
const gone = (error: CallError): Effect.Effect<undefined, CallError> =>
  error._tag === "KernelError" && error.errno === "ENOENT" ? Effect.succeed(undefined) : Effect.fail(error)

/** All links, closed again. */
export const all = Effect.fnUntraced(function*(objects: Objects) {
  const { session } = objects
  const found: Array<OpenLink> = []
  const next = (after: number) => session.call({ _tag: "IdNext", kind: "Link", after })
  for (let id = yield* next(0); id !== undefined; id = yield* next(id)) {
    const ref = session.fresh("Link")
    const opened = Effect.andThen(session.call({ _tag: "GetById", as: ref, id }), described(objects, ref))
    const link = yield* Effect.catch(opened, gone)
    if (link === undefined) continue
    found.push(link)
    yield* session.call({ _tag: "Close", ref })
  }
  return found
})

/** Links are named by less than maps and programs are. */
const reference = (words: Words.Words) => {
  const [keyword = ""] = words
  return keyword === "id" || keyword === "pinned" ? Words.reference("map", words) : Words.wrong(
    keyword === "" ? "link" : keyword,
    keyword === "" ? "none is named" : "this begins no link",
    "a link is id N or pinned FILE"
  )
}

/** The link at the front of the words, which stays open, and the words behind it. */
export const one = Effect.fnUntraced(function*(objects: Objects, words: Words.Words) {
  const [named, rest] = yield* Effect.fromResult(reference(words))
  const { session } = objects
  const ref = session.fresh("Link")
  if (named._tag === "Id") yield* session.call({ _tag: "GetById", as: ref, id: named.id })
  else if (named._tag === "Pinned") yield* openPin(objects, ref, named.path)
  return { link: yield* described(objects, ref), rest }
})

/** `link show`: the link of a reference, or all. */
export const show = Effect.fnUntraced(function*(objects: Objects, words: Words.Words) {
  if (words.length === 0) return { links: yield* all(objects), all: true }
  const { link, rest } = yield* one(objects, words)
  yield* Effect.fromResult(Words.nothingLeft(rest))
  return { links: [link], all: false }
})

/** `link detach`: takes the attachment away, whoever holds the link. */
export const detach = Effect.fnUntraced(function*(objects: Objects, words: Words.Words) {
  const { link, rest } = yield* one(objects, words)
  yield* Effect.fromResult(Words.nothingLeft(rest))
  yield* Effect.mapError(
    objects.session.call({ _tag: "LinkDetach", link: link.ref }),
    // Links have no names: the session's number of this one is nothing to whoever has named it otherwise.
    (error) => error._tag === "KernelError" ? withSubject(error, `link ${link.info.id}`) : error
  )
  return link
})

/** `link pin`: gives the link a name. */
export const pin = Effect.fnUntraced(function*(objects: Objects, words: Words.Words) {
  const { link, rest } = yield* one(objects, words)
  const [path, ...more] = rest
  if (path === undefined) {
    return yield* new UsageError({
      argument: "link pin",
      detail: "the path of the pin is expected behind the link",
      hint: "effect-bpf link pin id 7 /sys/fs/bpf/my_link"
    })
  }
  yield* Effect.fromResult(Words.nothingLeft(more))
  yield* objects.session.call({ _tag: "ObjPin", object: link.ref, path })
  yield* objects.session.commit
  return link
})
