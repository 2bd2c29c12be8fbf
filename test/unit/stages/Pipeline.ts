/** The pipeline up to a plan, for tests: on fixtures, with a ledger's answers. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { Kernel } from "../../../src/services/Kernel/Kernel.ts"
import * as Asked from "../../../src/stages/Asked.ts"
import * as Plan from "../../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../../src/stages/open/BpfObject.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import * as Relocate from "../../../src/stages/relocate/Relocate.ts"
import type { RelocatedObject } from "../../../src/stages/relocate/RelocatedObject.ts"
import * as LedgerKernel from "../../support/LedgerKernel.ts"
import { allFixtures, fixture } from "../../support/Require.ts"

const objects = new Map<string, BpfObject>()

/** The fixture, opened with the name of its file; opened once. */
export const opened = (name: string): BpfObject => {
  const known = objects.get(name)
  if (known !== undefined) return known
  const object = Result.getOrThrow(Open.fromBytes(fixture(name), { path: name }))
  objects.set(name, object)
  return object
}

const drive = <A, E>(
  object: BpfObject,
  stage: Parameters<typeof Asked.drive<A, E>>[0],
  options: LedgerKernel.LedgerOptions
): A => {
  const { kernel } = LedgerKernel.make({ byteOrder: object.byteOrder, ...options })
  return Effect.runSync(
    Asked.drive(stage).pipe(
      Effect.map(({ value }) => value),
      Effect.provideService(Kernel, kernel)
    )
  )
}

/** The object relocated with a ledger's answers; throws the stage's error. */
export const relocated = (object: BpfObject, options: LedgerKernel.LedgerOptions = {}): RelocatedObject =>
  drive(object, (info) => Relocate.toObject(object, info), options)

/** The object planned with a ledger's answers; throws the stage's error. */
export const planned = (object: BpfObject, options: LedgerKernel.LedgerOptions = {}): Plan.PlannedObject => {
  const whole = relocated(object, options)
  return drive(object, (info) => Plan.toPlan(whole, info), options)
}

/** The fixtures that a plan can be made for, each with its plan. */
export const plannedFixtures = (): ReadonlyArray<{ readonly name: string; readonly planned: Plan.PlannedObject }> =>
  allFixtures().flatMap((name) => {
    try {
      return [{ name, planned: planned(opened(name)) }]
    } catch {
      return []
    }
  })
