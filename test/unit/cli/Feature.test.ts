/** The document and the text of `feature probe`, and the command on kernels that are not tried. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { featureDocument } from "../../../src/cli/json/FeatureDocument.ts"
import { featureText } from "../../../src/cli/text/FeatureText.ts"
import { plain, render } from "../../../src/cli/text/Text.ts"
import { helperId } from "../../../src/insn/Helpers.ts"
import { refused, supported, unsupported } from "../../../src/services/Kernel/Feature.ts"
import type { FeatureReport } from "../../../src/services/Kernel/FeatureReport.ts"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import * as Ref from "../../../src/services/Kernel/Ref.ts"
import { check } from "../../support/Documents.ts"
import { repository, run } from "../../support/Require.ts"

const why = "run as root"

const lookup = helperId("bpf_map_lookup_elem") ?? 0
const redirect = helperId("bpf_redirect") ?? 0

const report: FeatureReport = {
  release: "6.1.0",
  architecture: "x64",
  settings: [
    { name: "unprivileged_bpf_disabled", value: 2 },
    { name: "bpf_jit_limit", value: undefined, errno: "EACCES" }
  ],
  kconfig: new Map([["CONFIG_BPF", "y"], ["CONFIG_HZ", "250"], ["CONFIG_NET", undefined]]),
  syscall: supported,
  programTypes: new Map([[6, supported], [20, unsupported("EINVAL")], [26, refused("EPERM", why)]]),
  mapTypes: new Map([[1, supported], [33, refused("ENOMEM", "ask for less")]]),
  attachTypes: new Map([["BPF_XDP", supported], ["BPF_TRACE_FENTRY", refused("EPERM", why)]]),
  helpers: new Map([
    [6, { _tag: "Probed", answers: new Map([[lookup, supported], [redirect, refused("EPERM", why)]]) }],
    [20, { _tag: "NoPrograms", because: unsupported("EINVAL") }],
    [26, { _tag: "NoPrograms", because: refused("EPERM", why) }],
    [27, { _tag: "Undetermined", why: "it depends" }]
  ]),
  features: new Map([["ProgName", supported], ["BtfFloat", unsupported("EINVAL")]]),
  misc: new Map([["BoundedLoops", supported]])
}

interface Document {
  readonly [section: string]: Readonly<Record<string, unknown>>
}

const documentOf = (of: FeatureReport): Document => JSON.parse(JSON.stringify(featureDocument(of, "live")))

describe("the document", () => {
  const document = documentOf(report)

  it("has bpftool's sections and keys, and in them yes, no, or what is not known", () => {
    assert.deepStrictEqual(Object.keys(document), [
      "kernel",
      "system_config",
      "syscall_config",
      "program_types",
      "map_types",
      "attach_types",
      "kernel_features",
      "misc",
      "helpers",
      "refused",
      "undetermined"
    ])
    assert.deepInclude(document["system_config"], {
      unprivileged_bpf_disabled: 2,
      bpf_jit_limit: -1,
      CONFIG_BPF: "y",
      CONFIG_HZ: "250",
      CONFIG_NET: null
    })
    assert.deepStrictEqual(document["syscall_config"], { have_bpf_syscall: true })
    assert.deepInclude(document["program_types"], {
      have_xdp_prog_type: true,
      have_lirc_mode2_prog_type: false,
      have_tracing_prog_type: false,
      have_lsm_prog_type: null
    })
    assert.deepInclude(document["map_types"], { have_hash_map_type: true, have_arena_map_type: false })
    assert.deepInclude(document["attach_types"], { have_xdp_attach_type: true, have_trace_fentry_attach_type: false })
    assert.deepInclude(document["kernel_features"], { have_prog_name: true, have_btf_float: false, have_btf: null })
    assert.deepInclude(document["misc"], { have_bounded_loops: true, have_v4_isa_extension: null })
    assert.deepStrictEqual(document["helpers"], {
      xdp_available_helpers: ["bpf_map_lookup_elem"],
      lirc_mode2_available_helpers: [],
      tracing_available_helpers: [],
      struct_ops_available_helpers: []
    })
  })

  it("tells what was refused, with the error and what would help, and what cannot be found out", () => {
    const eperm = { errno: "EPERM", hint: why }
    assert.deepStrictEqual(document["refused"], {
      "system_config.bpf_jit_limit": { errno: "EACCES", hint: null },
      "program_types.have_tracing_prog_type": eperm,
      "map_types.have_arena_map_type": { errno: "ENOMEM", hint: "ask for less" },
      "attach_types.have_trace_fentry_attach_type": eperm,
      "helpers.xdp_available_helpers.bpf_redirect": eperm,
      "helpers.tracing_available_helpers": eperm
    })
    assert.deepStrictEqual(document["undetermined"], { "helpers.struct_ops_available_helpers": "it depends" })
    const { undetermined } = documentOf({ ...report, kconfig: undefined, kconfigProblem: "no file" })
    assert.deepInclude(undetermined, { system_config: "no file" })
  })
})

describe("the text", () => {
  const text = render(featureText(report, "live"), plain)

  it("says yes, no with the reason, and refused with the error", () => {
    for (
      const line of [
        /^live, Linux 6\.1\.0, x64$/m,
        /^ {2}unprivileged_bpf_disabled {2}2: for privileged users alone/m,
        /^ {2}bpf_jit_limit +cannot be read \(EACCES\)$/m,
        /^ {2}set: CONFIG_BPF, CONFIG_HZ=250$/m,
        /^ {2}not set: CONFIG_NET$/m,
        /^ {2}prog_name +yes {2}names of programs and maps$/m,
        /^ {2}btf_float +no +floating-point numbers in BTF \(EINVAL\)$/m,
        /^ {2}lirc_mode2 +no +EINVAL$/m,
        /^ {2}tracing +refused \(EPERM\)$/m,
        /^ {2}xdp, 1 helper, 1 refused: bpf_map_lookup_elem$/m,
        /^ {2}lirc_mode2: no programs of this type$/m,
        /^ {2}struct_ops: it depends$/m,
        /^2 questions refused, so not known: run as root$/m,
        /^1 question refused, so not known: ask for less$/m
      ]
    ) assert.match(text, line)
  })

  it("leaves out what nothing is known of", () => {
    const empty = new Map<never, never>()
    const bare = render(
      featureText({
        ...report,
        settings: [],
        kconfig: undefined,
        kconfigProblem: "no file",
        syscall: undefined,
        programTypes: empty,
        mapTypes: empty,
        attachTypes: empty,
        helpers: empty,
        misc: empty
      }, "a.btf"),
      plain
    )
    assert.match(bare, /^Configuration\n {2}not known: no file$/m)
    assert.notMatch(bare, /Types of|Helpers|Settings|refused/)
  })
})

describe("feature probe of kernels that are not tried", () => {
  const command = (...args: ReadonlyArray<string>) =>
    check(
      ["feature", "probe", ...args],
      run(process.execPath, [`${repository}/src/bin.ts`, "feature", "probe", ...args], {
        env: { FORCE_COLOR: "0", NODE_NO_WARNINGS: "1" }
      })
    )

  it.effect("says of a simulated one what it is made of", () =>
    Effect.gen(function*() {
      const simulated = yield* KernelSimulated.features({
        features: { BtfFloat: false, Btf: refused("EPERM", why) },
        kconfig: { CONFIG_BPF: "y" }
      })
      assert.deepStrictEqual(simulated.features.get("BtfFloat"), unsupported())
      assert.deepStrictEqual(simulated.features.get("Btf"), refused("EPERM", why))
      assert.deepStrictEqual(simulated.features.get("ProgName"), supported)
      assert.strictEqual(simulated.kconfig?.get("CONFIG_BPF"), "y")
      const { status, stdout } = command("--kernel", "simulated", "--json")
      assert.strictEqual(status, 0)
      const document: Document = JSON.parse(stdout)
      assert.isTrue(Object.values(document["kernel_features"] ?? {}).every((has) => has === true))
      assert.deepStrictEqual(document["refused"], {})
    }))

  it.effect("says of a simulated one which maps it creates: those that it does", () =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelSimulated.make()
      const session = yield* kernel.session()
      const { mapTypes } = yield* KernelSimulated.features()
      // Sizes of key and value, entries and flags: one of them is right for each type, and none for types of types.
      const shapes = [[4, 4, 1, 0], [4, 8, 1, 0], [8, 8, 1, 1], [16, 8, 0, 0], [0, 4, 1, 0], [0, 0, 4096, 0], [
        0,
        0,
        1,
        0x400
      ]]
      const otherwise: ReadonlySet<number> = new Set([12, 13, 24, 28, 29, 32])
      let index = 0
      for (const [type, support] of mapTypes) {
        if (otherwise.has(type)) continue
        let created = false
        for (const [keySize = 0, valueSize = 0, maxEntries = 0, flags = 0] of shapes) {
          const attr = { name: "m", type, keySize, valueSize, maxEntries, flags, numaNode: 0, ifindex: 0, extra: 0n }
          const tried = yield* Effect.result(session.call({ _tag: "MapCreate", as: Ref.map(index++), attr }))
          created ||= tried._tag === "Success"
        }
        assert.strictEqual(support._tag, created ? "Supported" : "Unsupported", String(type))
      }
      assert.isAbove(index, 100)
    }))

  it("is wrong usage where there is no such kernel", () => {
    const { status, stderr, stdout } = command("--kernel", "no-such-kernel")
    assert.deepStrictEqual({ status, stdout }, { status: 2, stdout: "" })
    assert.match(stderr, /^error: no-such-kernel: there is no kernel of this name, and no such file$/m)
  })
})
