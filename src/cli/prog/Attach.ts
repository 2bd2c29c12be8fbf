/**
 * `prog attach` and `prog detach`: attachments without links, which stay when the command ends.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { AttachType, MapType, mapTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { AttachPoint } from "../../services/Kernel/calls/LinkCalls.ts"
import * as Objects from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import { suggest, UsageError } from "../Usage.ts"

/** What bpftool attaches so; the older names are those of its first versions. */
const attachTypes: Readonly<Record<string, number>> = {
  sk_msg_verdict: AttachType.BPF_SK_MSG_VERDICT,
  sk_skb_verdict: AttachType.BPF_SK_SKB_VERDICT,
  sk_skb_stream_verdict: AttachType.BPF_SK_SKB_STREAM_VERDICT,
  sk_skb_stream_parser: AttachType.BPF_SK_SKB_STREAM_PARSER,
  flow_dissector: AttachType.BPF_FLOW_DISSECTOR,
  msg_verdict: AttachType.BPF_SK_MSG_VERDICT,
  skb_verdict: AttachType.BPF_SK_SKB_VERDICT,
  stream_verdict: AttachType.BPF_SK_SKB_STREAM_VERDICT,
  stream_parser: AttachType.BPF_SK_SKB_STREAM_PARSER
}

/** The words of `prog attach` and `prog detach`. */
export interface Attachment {
  readonly prog: Words.Reference
  readonly attachType: number
  /** The map of sockets; a flow dissector is the network namespace's of this process. */
  readonly map: Words.Reference | undefined
}

/** Reads the words. */
export const attachmentOf = (words: Words.Words): Result.Result<Attachment, UsageError> =>
  Result.gen(function*() {
    const [prog, behind] = yield* Words.reference("prog", words)
    const [name, ...rest] = behind
    const attachType = name === undefined || !Object.hasOwn(attachTypes, name) ? undefined : attachTypes[name]
    if (attachType === undefined) {
      return yield* Words.wrong(
        name ?? "attach type",
        name === undefined ? "none is given" : "programs are not attached so here",
        suggest(name ?? "", Object.keys(attachTypes), "ways to attach").replace(" of the object", "") +
          "; links are made by trace and prog load … autoattach, and by net attach and cgroup attach"
      )
    }
    if (attachType === AttachType.BPF_FLOW_DISSECTOR) {
      yield* Words.nothingLeft(rest)
      return { prog, attachType, map: undefined }
    }
    const [map, left] = yield* Words.reference("map", rest)
    yield* Words.nothingLeft(left)
    return { prog, attachType, map }
  })

const ofSockets: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_SOCKMAP, MapType.BPF_MAP_TYPE_SOCKHASH])

const pointOf = Effect.fnUntraced(function*(objects: Objects.Objects, { map }: Attachment) {
  if (map === undefined) return { _tag: "None" } satisfies AttachPoint
  const { info, ref } = yield* Objects.oneMap(objects, map)
  if (!ofSockets.has(info.type)) {
    return yield* new UsageError({
      argument: Words.written(map),
      detail: `it is of type ${mapTypeName(info.type)}, and programs are attached to a sockmap or sockhash`
    })
  }
  return { _tag: "Map", map: ref } satisfies AttachPoint
})

/** `prog attach`: what is attached stays. */
export const attach = Effect.fnUntraced(function*(objects: Objects.Objects, wanted: Attachment) {
  const { session } = objects
  const prog = yield* Objects.oneProg(objects, wanted.prog)
  const target = yield* pointOf(objects, wanted)
  const as = session.fresh("Attachment")
  yield* session.call({
    _tag: "ProgAttach",
    as,
    prog: prog.ref,
    target,
    attachType: wanted.attachType,
    flags: 0
  })
  session.disown(as)
})

/** `prog detach`: takes the program away, whoever has attached it. */
export const detach = Effect.fnUntraced(function*(objects: Objects.Objects, wanted: Attachment) {
  const prog = yield* Objects.oneProg(objects, wanted.prog)
  const target = yield* pointOf(objects, wanted)
  yield* objects.session.call({
    _tag: "ProgDetach",
    prog: prog.ref,
    target,
    attachType: wanted.attachType,
    flags: 0
  })
})
