/**
 * Types that were made for kernels that lack features are ones that a kernel takes: the running one knows all their kinds.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import {
  descriptions,
  type Feature,
  features as allFeatures,
  inRelease,
  ofRelease
} from "../../src/services/Kernel/Feature.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Types from "../../src/stages/load/sanitise/Types.ts"
import { allFixtures, describeWith, fixture } from "../support/Require.ts"

const lacking = (missing: ReadonlyArray<Feature>) => ({
  has: (feature: Feature) => !missing.includes(feature),
  because: () => ""
})

/** A prototype becomes an enum, as with libbpf, and the kernel wants names for all its values. */
const hasUnnamedParameter = (btf: Btf.Btf): boolean =>
  [...Btf.idsOfKind(btf, Btf.BTF_KIND_FUNC_PROTO)].some((id) => {
    const type = Btf.typeOf(btf, id)
    return type._tag === "FuncProto" && type.params.some(({ name }) => name === "")
  })

const sets: ReadonlyArray<ReadonlyArray<Feature>> = [
  ...["4.18", "5.0", "5.4", "5.10", "5.15", "6.1"].map((release) => {
    const has = ofRelease(release)
    return allFeatures.filter((feature) => has?.[feature] === false)
  }),
  // The kernel before each feature: it lacks those that came with it and since.
  ...allFeatures.filter((feature) => feature.startsWith("Btf")).map((feature) =>
    allFeatures.filter((each) => inRelease(feature, descriptions[each].since ?? "99.0") === true)
  )
]

describeWith({ kind: "live" }, "types for older kernels", () => {
  it("are taken by this one", { timeout: 60_000 }, () =>
    Effect.runPromise(
      Effect.scoped(Effect.gen(function*() {
        const session = yield* (yield* Kernel).session()
        let changed = 0
        for (const name of allFixtures().filter((each) => each.endsWith(".bpf.o"))) {
          const object = Open.fromBytes(fixture(name), { path: name })
          if (Result.isFailure(object) || object.success.btf === undefined) continue
          for (const missing of sets) {
            const { bytes, notes } = Result.getOrThrow(Types.sanitise(object.success.btf, lacking(missing)))
            if (notes.length === 0) continue
            changed++
            const taken = yield* Effect.result(session.call({ _tag: "BtfLoad", as: Ref.btf(changed), bytes }))
            const expected = !(missing.includes("BtfFunc") && hasUnnamedParameter(object.success.btf))
            assert.strictEqual(Result.isSuccess(taken), expected, `${name} without ${missing.join(", ")}`)
            if (Result.isSuccess(taken)) yield* session.call({ _tag: "Close", ref: Ref.btf(changed) })
          }
        }
        assert.isAbove(changed, 100)
      })).pipe(Effect.provide(KernelLive.layer))
    ))
})
