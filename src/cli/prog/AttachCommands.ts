/**
 * The commands `prog attach` and `prog detach`.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import { reporting } from "../Failure.ts"
import { onKernel } from "../objects/OnKernel.ts"
import * as Output from "../Output.ts"
import * as Attach from "./Attach.ts"

const words = Argument.String("words").pipe(
  Argument.withDescription(
    "the program: id N, pinned FILE, name NAME or tag TAG; then sk_msg_verdict, sk_skb_verdict, sk_skb_stream_verdict or " +
      "sk_skb_stream_parser and the map of sockets: id N, pinned FILE or name NAME; or flow_dissector"
  ),
  Argument.variadic()
)

/** `prog attach`. */
export const attach = Command.make("attach", { words }, ({ words }) =>
  reporting(Effect.gen(function*() {
    const wanted = yield* Effect.fromResult(Attach.attachmentOf(words))
    yield* onKernel((objects) => Attach.attach(objects, wanted))
    yield* Output.result(() => null, () => [])
  }))).pipe(
    Command.withDescription(
      "Attach a program without a link: to a map of sockets, in the place of what is there, or as the flow dissector of this\n" +
        "  network namespace. It stays attached until it is detached, or the map or the namespace goes."
    ),
    Command.withShortDescription("Attach a program without a link"),
    Command.withExamples([
      { command: "effect-bpf prog attach pinned /sys/fs/bpf/verdict sk_skb_stream_verdict name sockets" }
    ])
  )

/** `prog detach`. */
export const detach = Command.make("detach", { words }, ({ words }) =>
  reporting(Effect.gen(function*() {
    const wanted = yield* Effect.fromResult(Attach.attachmentOf(words))
    yield* onKernel((objects) => Attach.detach(objects, wanted))
    yield* Output.result(() => null, () => [])
  }))).pipe(
    Command.withDescription(
      "Take a program away that was attached without a link, in the words of prog attach. What is attached by a link is detached\n" +
        "  by link detach."
    ),
    Command.withShortDescription("Detach a program that was attached without a link"),
    Command.withExamples([
      { command: "effect-bpf prog detach pinned /sys/fs/bpf/verdict sk_skb_stream_verdict name sockets" }
    ])
  )
