/**
 * `--kernel`: the only place where the command chooses an implementation of the Kernel service.
 */
import * as Effect from "effect/Effect"
import * as Flag from "effect/cli/Flag"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import type { KernelError } from "../services/Kernel/KernelError.ts"
import type { SimulatedOptions } from "../services/Kernel/KernelSimulated.ts"

/** The kernels that there are to choose from, and what each is. */
const kernels: Readonly<Record<string, string>> = {
  live: "the kernel that this machine runs",
  simulated: "one in this process, without privileges"
}

const flagOf = (names: ReadonlyArray<string>, what: string) => {
  const list = names.map((name) => `${name} (${kernels[name] ?? ""})`).join(", ")
  return Flag.String("kernel").pipe(
    Flag.withMetavar("KERNEL"),
    Flag.withDescription(`${what}: ${list}`),
    Flag.withDefault("live"),
    Flag.filter((name) => names.includes(name), () => `Expected one of: ${list}`)
  )
}

/** Which kernel a command works with. */
export const flag = flagOf(["live", "simulated"], "Kernel to plan for or to load into")

/** Which kernel a command works with whose work has to outlive it: a simulated one ends with the process. */
export const lastingFlag = flagOf(["live"], "Kernel to load into")

// Imported when it is wanted: commands that only look at files start without it.
const live = Effect.promise(() => import("../services/Kernel/KernelLive.ts"))

const simulated = Effect.promise(() => import("../services/Kernel/KernelSimulated.ts"))

/** The kernel of this name; the flag has checked the name. The options are those of a simulated one. */
export const layer = (name: string, options: SimulatedOptions = {}): Layer.Layer<Kernel, KernelError> =>
  name === "simulated"
    ? Layer.unwrap(Effect.map(simulated, (module) => module.layer(options)))
    : Layer.unwrap(Effect.map(live, (module) => module.layer))

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
      if (name !== "live" || !isRefusal(error)) return yield* Effect.fail(error)
      const availability = yield* (yield* live).availability
      if (availability.available) return yield* Effect.fail(error)
      return yield* new UnusableKernel({ kernel: name, detail: availability.reason, hint: availability.hint })
    }))
