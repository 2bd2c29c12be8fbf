// Runs an example on a kernel and says which, and why: the one of this machine where bpf(2) may be used, else one in this
// process, which needs nothing. `--kernel live` or `--kernel simulated` decides it.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Kernel, KernelSimulated } from "../src/index.ts"
import { KernelLive } from "../src/node.ts"

const at = process.argv.indexOf("--kernel")
const asked = at < 0 ? undefined : process.argv[at + 1] ?? ""

/** The arguments of the example itself. */
export const args = process.argv.slice(2).filter((_, index) => at < 0 || (index !== at - 2 && index !== at - 1))

type Example<E> = Effect.Effect<void, E, Kernel.Kernel | Scope.Scope>

const simulated = <E>(example: Example<E>, why: string) =>
  Effect.suspend(() => {
    console.log(`Loaded on a simulated kernel, ${why}\n`)
    return example.pipe(Effect.scoped, Effect.provide(KernelSimulated.layer()))
  })

const live = <E>(example: Example<E>, why: string) =>
  Effect.suspend(() => {
    console.log(`Loaded on the kernel of this machine, ${why}\n`)
    return example.pipe(Effect.scoped, Effect.provide(KernelLive.layer))
  })

/** A process may be allowed to use bpf(2), and not for what this example needs. */
const isForbidden = (error: unknown): error is Error =>
  error instanceof Error && Reflect.get(error, "_tag") === "KernelError" && Reflect.get(error, "errno") === "EPERM"

const chosen = <E>(example: Example<E>) =>
  Effect.gen(function*() {
    const availability = yield* KernelLive.availability
    if (!availability.available) {
      const { hint, reason } = availability
      return yield* simulated(example, `for the one of this machine cannot be used: ${reason}.\nFor that, ${hint}.`)
    }
    yield* live(example, "for bpf(2) may be used here (--kernel simulated for the other)").pipe(
      Effect.catch((error) =>
        isForbidden(error)
          ? simulated(example, `for the one of this machine refuses:\n${error.message}`)
          : Effect.fail(error)
      )
    )
  })

/** Runs an example. */
export const onKernel = <E>(example: Example<E>) => {
  switch (asked) {
    case undefined:
      return chosen(example)
    case "live":
      return live(example, "as asked for")
    case "simulated":
      return simulated(example, "as asked for")
    default:
      return Effect.die(`--kernel is live or simulated, not ${asked}`)
  }
}
