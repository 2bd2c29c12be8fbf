/** Fixtures loaded on a kernel of a test's choice, in the way that a user loads an object. */
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import type { EditError } from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { fixture } from "./Require.ts"

/** An edit of an object. */
export type EditOf = (object: BpfObject) => Result.Result<BpfObject, EditError>

/** What of a load a test may leave open. */
export interface LoadFixtureOptions {
  /** Default: the running kernel. */
  readonly kernel?: KernelShape
  /** Edits, in order. */
  readonly edits?: ReadonlyArray<EditOf>
  readonly pinRoot?: string
}

/** The plan of a fixture for a kernel. */
export const planFixture = (
  name: string,
  options: LoadFixtureOptions & { readonly kernel: KernelShape }
): Effect.Effect<Plan.PlannedObject, unknown> =>
  Effect.gen(function*() {
    let object = yield* Effect.fromResult(
      Open.fromBytes(fixture(name), {
        path: name,
        ...(options.pinRoot === undefined ? {} : { pinRoot: options.pinRoot })
      })
    )
    for (const edit of options.edits ?? []) object = yield* Effect.fromResult(edit(object))
    return yield* Effect.flatMap(Relocate.relocate.run(object), (relocated) => Plan.plan.run(relocated))
  }).pipe(Effect.provideService(Kernel, options.kernel))

/** Opens, edits, relocates, plans and loads a fixture; it lives as long as the scope. */
export const loadFixture = (
  name: string,
  options: LoadFixtureOptions = {}
): Effect.Effect<Execute.LoadedObject, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const kernel = options.kernel ?? (yield* KernelLive.make)
    const planned = yield* planFixture(name, { ...options, kernel })
    return yield* Execute.toLoaded(planned).pipe(Effect.provideService(Kernel, kernel))
  })
