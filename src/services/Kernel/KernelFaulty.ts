/**
 * A kernel that fails on purpose: a decorator of any other, for tests of what happens then.
 *
 * Attempts are counted from 0 over all sessions of the decorated kernel, as `KernelTraced` counts them; one of them
 * fails, or is interrupted before or after it reaches the kernel. Every attempt is an injection point.
 */
import * as Effect from "effect/Effect"
import type { Errno } from "./abi/Errno.ts"
import * as ErrnoTable from "./abi/Errno.ts"
import type { KernelShape, Observer } from "./Kernel.ts"
import { KernelError } from "./KernelError.ts"
import { observe } from "./KernelTraced.ts"

/** What happens to the chosen attempt. */
export type Fault =
  /** The kernel is not entered, and seems to answer this. */
  | { readonly _tag: "Answer"; readonly errno: Errno }
  /** The fiber is interrupted before the kernel is entered. */
  | { readonly _tag: "InterruptBefore" }
  /** The fiber is interrupted when the kernel has answered. */
  | { readonly _tag: "InterruptAfter" }

/** Decorates a kernel: attempt number `at` meets with the fault. */
export const make = (kernel: KernelShape, at: number, fault: Fault): Effect.Effect<KernelShape> =>
  Effect.sync(() => {
    let begun = 0
    let ended = 0
    const observer: Observer = {
      before: (attempt) =>
        Effect.suspend(() => {
          if (begun++ !== at || fault._tag === "InterruptAfter") return Effect.void
          if (fault._tag === "InterruptBefore") return Effect.interrupt
          return Effect.fail(
            new KernelError({
              call: attempt.call._tag,
              errno: fault.errno,
              errnoNumber: ErrnoTable.numbers[fault.errno],
              subject: "an injected fault"
            })
          )
        }),
      after: () =>
        Effect.suspend(() => ended++ === at && fault._tag === "InterruptAfter" ? Effect.interrupt : Effect.void)
    }
    return observe(kernel, observer, { listedOrder: true })
  })
