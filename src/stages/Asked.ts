/**
 * Pure stages that ask.
 *
 * A stage that depends on a kernel is a pure function of what is known of it. Where it lacks something it answers with
 * its needs instead of a result; the driver asks the Kernel service, adds the answers and calls again, so that nothing is
 * read that the object does not need.
 */
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Kernel } from "../services/Kernel/Kernel.ts"
import type { KernelError } from "../services/Kernel/KernelError.ts"
import * as KernelInfo from "../services/Kernel/KernelInfo.ts"

/** What a pure stage answers: its value, or what it must know first. */
export type Asked<A> =
  | { readonly _tag: "Done"; readonly value: A }
  | { readonly _tag: "Needs"; readonly requirements: ReadonlyArray<KernelInfo.Requirement> }

/** The answer that is a value. */
export const done = <A>(value: A): Asked<A> => ({ _tag: "Done", value })

/** The answer that asks. */
export const needs = (requirements: ReadonlyArray<KernelInfo.Requirement>): Asked<never> => ({
  _tag: "Needs",
  requirements
})

/** A kernel was asked and did not answer: a fault of its implementation, which would otherwise be asked for ever. */
export class UnansweredError extends Schema.TaggedError<UnansweredError>()("UnansweredError", {
  kernel: Schema.String,
  /** What was asked, for people. */
  requirements: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `the ${this.kernel} kernel was asked for ${this.requirements.join(", ")}, and did not say`
  }
}

/** Calls a pure stage until it is done, asking the kernel for what it needs in between; returns what was learned too. */
export const drive = Effect.fnUntraced(function*<A, E>(
  stage: (info: KernelInfo.KernelInfo) => Result.Result<Asked<A>, E>,
  known?: KernelInfo.KernelInfo
): Effect.fn.Return<
  { readonly value: A; readonly info: KernelInfo.KernelInfo },
  E | KernelError | UnansweredError,
  Kernel
> {
  const kernel = yield* Kernel
  let info = known ?? (yield* kernel.info)
  for (;;) {
    const asked = yield* Effect.fromResult(stage(info))
    if (asked._tag === "Done") return { value: asked.value, info }
    info = KernelInfo.add(info, yield* kernel.ask(asked.requirements))
    const now = info
    const unanswered = asked.requirements.filter((each) => KernelInfo.factOf(now, each)._tag === "Unasked")
    if (unanswered.length > 0 || asked.requirements.length === 0) {
      return yield* new UnansweredError({ kernel: kernel.name, requirements: unanswered.map(KernelInfo.describe) })
    }
  }
})
