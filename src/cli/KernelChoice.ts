/**
 * `--kernel`: the only place where the command chooses an implementation of the Kernel service.
 */
import * as Effect from "effect/Effect"
import * as Flag from "effect/cli/Flag"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Kernel } from "../services/Kernel/Kernel.ts"

/** The kernels that there are to choose from, and what each is. */
const kernels: Readonly<Record<string, string>> = { live: "the kernel that this machine runs" }

const list = Object.entries(kernels).map(([name, what]) => `${name} (${what})`).join(", ")

/** Which kernel a command works with. */
export const flag = Flag.String("kernel").pipe(
  Flag.withMetavar("KERNEL"),
  Flag.withDescription(`Kernel to plan for or to load into: ${list}`),
  Flag.withDefault("live"),
  Flag.filter((name) => Object.hasOwn(kernels, name), () => `Expected one of: ${list}`)
)

// Imported when it is wanted: commands that only look at files start without it.
const live = Effect.promise(() => import("../services/Kernel/KernelLive.ts"))

/** The kernel of this name; the flag has checked the name. */
export const layer = (_name: string): Layer.Layer<Kernel> => Layer.unwrap(Effect.map(live, (module) => module.layer))

/** The kernel cannot be used at all by this process. */
export class UnusableKernel extends Schema.TaggedError<UnusableKernel>()("UnusableKernel", {
  kernel: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `the ${this.kernel} kernel cannot be used: ${this.detail}${
      this.hint === undefined ? "" : `\nhint: ${this.hint}`
    }`
  }
}

const isRefusal = (error: object): boolean => {
  const errno: unknown = Reflect.get(error, "errno")
  return Reflect.get(error, "_tag") === "KernelError" && (errno === "EPERM" || errno === "ENOSYS" || errno === "EACCES")
}

/**
 * Says why, where the kernel refuses everything. One call's refusal is explained by its error; that nothing at all is
 * allowed is found out here, and only after a failure.
 */
export const explaining = (name: string) => <A, E extends object, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.catch(effect, (error) =>
    Effect.gen(function*() {
      if (!isRefusal(error)) return yield* Effect.fail(error)
      const availability = yield* (yield* live).availability
      if (availability.available) return yield* Effect.fail(error)
      return yield* new UnusableKernel({ kernel: name, detail: availability.reason, hint: availability.hint })
    }))
