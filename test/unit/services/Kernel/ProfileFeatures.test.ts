/** What types and profiles tell of features, of nothing, and of kernels of Debian. */
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Result from "effect/Result"
import * as Btf from "../../../../src/btf/Btf.ts"
import { type Feature, features, supported, unsupported } from "../../../../src/services/Kernel/Feature.ts"
import * as KernelProfile from "../../../../src/services/Kernel/KernelProfile.ts"
import { fromTypes } from "../../../../src/services/Kernel/profile/FeatureTypes.ts"
import { reportOf } from "../../../../src/services/Kernel/profile/Report.ts"
import { describeWith, kernel, kernelsFolder } from "../../../support/Require.ts"

const parse = (path: string): Btf.Btf => Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(path))))

describe("types that have nothing of a kernel", () => {
  it("tell of no feature, and of no type that a kernel has not heard of", () => {
    const empty = Result.getOrThrow(
      Btf.parse(Uint8Array.from([0x9f, 0xeb, 1, 0, 24, ...Array(15).fill(0), 1, 0, 0, 0, 0]))
    )
    for (const feature of features) assert.isUndefined(fromTypes(empty, feature), feature)
    const report = reportOf(KernelProfile.fromTypesAlone(empty))
    const known = [
      report.features,
      report.programTypes,
      report.mapTypes,
      report.attachTypes,
      report.helpers,
      report.misc
    ]
    assert.deepStrictEqual(known.map(({ size }) => size), [0, 0, 0, 0, 0, 0])
    assert.isUndefined(report.kconfig)
    assert.match(report.kconfigProblem ?? "", /BTF file/)
  })
})

describeWith({ kind: "oracle", files: [kernelsFolder] }, "the types of Debian's kernels", () => {
  const [bookworm, backport] = (["6.1", "6.12"] as const).map((series) => parse(kernel(series).btf))

  /** What these types do not tell, or that one of the kernels or both of them have not. */
  const undecided: ReadonlySet<Feature> = new Set([
    "ProgName",
    "ExpectedAttachType",
    "UprobeMultiLink",
    "ArgCtxTag",
    "BtfQmarkDatasec",
    "Ldimm64FullRangeOffset",
    "UprobeSyscall",
    "BtfLayout",
    "CommonAttrs"
  ])

  it("tell what came between them, and nothing that is not so", () => {
    if (bookworm === undefined || backport === undefined) return assert.fail("no kernels")
    const told = (btf: Btf.Btf, has: boolean) => features.filter((feature) => fromTypes(btf, feature) === has)
    const both: ReadonlyArray<Feature> = features.filter((feature) => !undecided.has(feature))
    assert.sameMembers([...told(bookworm, true)], [...both])
    assert.sameMembers([...told(backport, true)], [...both, "ArgCtxTag"])
    assert.sameMembers([...told(bookworm, false)], ["UprobeMultiLink", "UprobeSyscall", "BtfLayout", "CommonAttrs"])
    assert.sameMembers([...told(backport, false)], ["UprobeSyscall", "BtfLayout", "CommonAttrs"])
  })

  it("make a report of what the kernel has not heard of", () => {
    if (bookworm === undefined || backport === undefined) return assert.fail("no kernels")
    const older = reportOf(KernelProfile.fromTypesAlone(bookworm))
    assert.deepStrictEqual([...older.programTypes.keys()], [32])
    assert.deepStrictEqual([...older.mapTypes.keys()], [32, 33, 34, 35])
    assert.deepStrictEqual(
      older.attachTypes.get("BPF_TCX_INGRESS"),
      unsupported("enum bpf_attach_type has no BPF_TCX_INGRESS")
    )
    assert.deepStrictEqual(older.features.get("BtfFloat"), supported)
    const newer = reportOf(KernelProfile.fromTypesAlone(backport))
    assert.deepStrictEqual([...newer.mapTypes.keys()], [34, 35])
    assert.isFalse(newer.attachTypes.has("BPF_TCX_INGRESS"))
  })

  it("give way to what trying has shown", () => {
    if (bookworm === undefined) return assert.fail("no kernels")
    const profile = { ...KernelProfile.fromTypesAlone(bookworm), features: { BtfFloat: false, ProgName: true } }
    const report = reportOf(profile)
    assert.deepStrictEqual(report.features.get("BtfFloat"), unsupported())
    assert.deepStrictEqual(report.features.get("ProgName"), supported)
  })
})
