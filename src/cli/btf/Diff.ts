/** `btf diff`: types of two kernels, modules or objects compared. */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as BtfDiff from "../../btf/BtfDiff.ts"
import * as BtfInput from "../BtfInput.ts"
import { reporting } from "../Failure.ts"
import { diffDocument } from "../json/BtfDocument.ts"
import * as Output from "../Output.ts"
import { diffLines } from "../text/BtfText.ts"
import { during } from "./Common.ts"

/** The command. */
export const diff = Command.make("diff", {
  before: Argument.String("before").pipe(
    Argument.withDescription(`The types of one side: ${BtfInput.fileDescription}`)
  ),
  after: Argument.String("after").pipe(Argument.withDescription("Those of the other side")),
  filter: Flag.String("filter").pipe(
    Flag.withMetavar("GLOB"),
    Flag.withDescription("Only types whose name is this or matches this pattern of * and ?"),
    Flag.optional
  ),
  kind: Flag.Literals("kind", BtfDiff.diffKinds).pipe(
    Flag.withMetavar("KIND"),
    Flag.withDescription("Only types of this kind; repeatable"),
    Flag.atLeast(0)
  ),
  base: BtfInput.baseFlag,
  afterBase: Flag.String("after-base-btf").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("What the types of the other side are split over, where that is not --base-btf"),
    Flag.optional
  )
}, ({ after, afterBase, base, before, filter, kind }) =>
  reporting(Effect.gen(function*() {
    const was = yield* during(`reading ${before}`, BtfInput.read(before, { base }))
    const is = yield* during(`reading ${after}`, BtfInput.read(after, { base: Option.orElse(afterBase, () => base) }))
    const difference = yield* during(
      "comparing types",
      Effect.sync(() =>
        BtfDiff.diff(was.file.btf, is.file.btf, {
          ...(Option.isSome(filter) ? { filter: filter.value } : {}),
          ...(kind.length === 0 ? {} : { kinds: kind })
        })
      )
    )
    yield* Output.result(
      () => diffDocument(before, after, difference),
      () => [...diffLines(difference, [before, after])]
    )
  }))).pipe(
    Command.withDescription(
      "Compare the types of two kernels, modules or objects by name: what is gone and new, members that were moved,\n" +
        "  renamed, retyped and resized, values that were renumbered, parameters of functions, and the accesses that break.\n\n" +
        "  A line begins with - for what is gone, + for what is new, ! for what changed, ? for what is not clear; > moved\n" +
        "  only, which CO-RE takes care of. An access that breaks for one type breaks in all that contain it."
    ),
    Command.withShortDescription("Compare types, and tell which accesses break"),
    Command.withExamples([
      {
        command: "effect-bpf btf diff 6.1.btf vmlinux --filter task_struct",
        description: "What became of a struct"
      },
      {
        command: "effect-bpf btf diff 6.1.btf vmlinux --json | jq -r '.changed[].breaks[] | \"\\(.path) \\(.why)\"'",
        description: "All accesses that break"
      },
      {
        command: "effect-bpf btf diff old/xfs.ko new/xfs.ko --base-btf old/vmlinux --after-base-btf new/vmlinux",
        description: "A module of two kernels"
      }
    ])
  )
