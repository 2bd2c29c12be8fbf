/**
 * `--kernel`: the only place where the command chooses an implementation of the Kernel service.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Flag from "effect/cli/Flag"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Feature from "../services/Kernel/Feature.ts"
import type { FeatureReport } from "../services/Kernel/FeatureReport.ts"
import { Kernel, type KernelShape } from "../services/Kernel/Kernel.ts"
import type { KernelError } from "../services/Kernel/KernelError.ts"
import type { ReportOptions } from "../services/Kernel/KernelLive.ts"
import type { ProfiledOptions } from "../services/Kernel/KernelProfiled.ts"
import type { ProfileError } from "../services/Kernel/profile/ProfileError.ts"
import { UsageError } from "./Usage.ts"

/** The kernels that have a name, and what each is. */
const kernels: Readonly<Record<string, string>> = {
  live: "the kernel that this machine runs",
  simulated: "one in this process, without privileges"
}

const listed = (names: ReadonlyArray<string>): string =>
  names.map((name) => `${name} (${kernels[name] ?? ""})`).join(", ")

/** How a simulated kernel of a release is named. */
const ofRelease = "simulated:5.4 (or another release of Linux: one with the features of that release)"

/** What else a kernel may be. */
const profiles = "the path of a kernel profile (kernel snapshot writes them) or of a BTF file"

const flagOf = (description: string) =>
  Flag.String("kernel").pipe(
    Flag.withMetavar("KERNEL"),
    Flag.withDescription(description),
    Flag.withDefault("live")
  )

/** Which kernel a command works with. */
export const flag = flagOf(
  `Kernel to plan for or to load into: ${listed(["live", "simulated"])}, ${ofRelease}, or ${profiles}`
)

/** Which kernel a command asks, without loading anything into it that stays. */
export const askedFlag = flagOf(`Kernel to ask: ${listed(["live", "simulated"])}, ${ofRelease}, or ${profiles}`)

/** Which kernel a command works with whose work has to outlive it: the others end with the process. */
export const lastingFlag = flagOf(`Kernel to load into: ${listed(["live"])}`).pipe(
  Flag.filter((name) => name === "live", () => `Expected one of: ${listed(["live"])}`)
)

// Imported when it is wanted: commands that only look at files start without it.
const live = Effect.promise(() => import("../services/Kernel/KernelLive.ts"))

/** The kernel of this machine, of which nothing is known yet. */
export const makeLive: Effect.Effect<KernelShape> = Effect.flatMap(live, ({ make }) => make)

/** The kernel of this machine that several commands of one process share; `undefined` where each has its own. */
export const SharedLive = Context.Reference<Effect.Effect<KernelShape> | undefined>("effect-bpf/cli/SharedLive", {
  defaultValue: () => undefined
})

const simulated = Effect.promise(() => import("../services/Kernel/KernelSimulated.ts"))

const profiled = Effect.promise(() => import("../services/Kernel/KernelProfiled.ts"))

const profileFolder = Effect.promise(() => import("../services/Kernel/live/ProfileFolder.ts"))

const profileReport = Effect.promise(() => import("../services/Kernel/profile/Report.ts"))

/** The release in the name of a simulated kernel: `5.4` in `simulated:5.4`. `undefined` in any other name. */
export const releaseIn = (name: string): string | undefined => /^simulated:(.*)$/s.exec(name)?.[1]

/** The options of a simulated kernel of a release, or why there is none. */
const ofNamedRelease = (release: string) =>
  Feature.ofRelease(release) === undefined
    ? new UsageError({
      argument: `simulated:${release}`,
      detail: `${release === "" ? "nothing" : release} is no release of Linux`,
      hint: "write its numbers, as in simulated:5.4"
    })
    : Effect.succeed({ release, features: "release" as const })

/** Whether a kernel is neither of those that have a name, but what is known of one in a file. */
export const isProfile = (name: string): boolean => !Object.hasOwn(kernels, name) && releaseIn(name) === undefined

/** The profile at this path, or the types of the file there. */
export const openProfile = Effect.fnUntraced(function*(path: string) {
  if (!Fs.existsSync(path)) {
    return yield* new UsageError({
      argument: path,
      detail: "there is no kernel of this name, and no such file",
      hint: `a kernel may be ${listed(Object.keys(kernels))}, or ${profiles}`
    })
  }
  return yield* (yield* profileFolder).open(path)
})

/**
 * The kernel of this name, or of the profile or BTF file at this path. The options are those of a simulated one, and of the
 * simulated machine on which the loads of a profile are.
 */
export const layer = (
  name: string,
  options: ProfiledOptions = {}
): Layer.Layer<Kernel, KernelError | ProfileError | UsageError> => {
  switch (name) {
    case "simulated":
      return Layer.unwrap(Effect.map(simulated, (module) => module.layer(options)))
    case "live":
      return Layer.unwrap(Effect.gen(function*() {
        const shared = yield* SharedLive
        return shared === undefined ? (yield* live).layer : Layer.succeed(Kernel, yield* shared)
      }))
    default: {
      const release = releaseIn(name)
      return Layer.unwrap(Effect.gen(function*() {
        return release === undefined
          ? (yield* profiled).layer(yield* openProfile(name), options)
          : (yield* simulated).layer({ ...options, ...(yield* ofNamedRelease(release)) })
      }))
    }
  }
}

/**
 * What the kernel of this name supports, or the one of the profile or BTF file at this path. The options are for a kernel that
 * can be tried: the one of this machine.
 */
export const features = (
  name: string,
  options: ReportOptions
): Effect.Effect<FeatureReport, KernelError | ProfileError | UsageError> => {
  switch (name) {
    case "simulated":
      return Effect.flatMap(simulated, (module) => module.features())
    case "live":
      return Effect.flatMap(live, (module) => module.features(options))
    default: {
      const release = releaseIn(name)
      return Effect.gen(function*() {
        return release === undefined
          ? (yield* profileReport).reportOf(yield* openProfile(name))
          : yield* (yield* simulated).features(yield* ofNamedRelease(release))
      })
    }
  }
}

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
