/** What the running kernel supports: found out without a trace, as root and without rights. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Result from "effect/Result"
import { features } from "../../src/services/Kernel/Feature.ts"
import * as KernelInfo from "../../src/services/Kernel/KernelInfo.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Facts from "../../src/services/Kernel/live/Facts.ts"
import { fromTypes } from "../../src/services/Kernel/profile/FeatureTypes.ts"
import { check } from "../support/Documents.ts"
import { describeWith, repository, run } from "../support/Require.ts"

/** The descriptors of kernel objects that this process has open. */
const objects = (): ReadonlyArray<string> =>
  Fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const target = Fs.readlinkSync(`/proc/self/fd/${fd}`)
      return /bpf|btf|perf_event/.test(target) ? [target] : []
    } catch {
      return []
    }
  })

const bin = Path.join(repository, "src/bin.ts")

const environment = { FORCE_COLOR: "0", NODE_NO_WARNINGS: "1" }

interface Probed {
  readonly refused: Readonly<Record<string, { readonly errno: string; readonly hint: string | null }>>
  readonly syscall_config: Readonly<Record<string, boolean>>
  readonly program_types: Readonly<Record<string, boolean>>
  readonly map_types: Readonly<Record<string, boolean>>
  readonly attach_types: Readonly<Record<string, boolean>>
  readonly kernel_features: Readonly<Record<string, boolean>>
  readonly misc: Readonly<Record<string, boolean>>
  readonly helpers: Readonly<Record<string, ReadonlyArray<string>>>
}

describeWith({ kind: "live" }, "what the running kernel supports", () => {
  it.live("is found out with nothing left open", () =>
    Effect.gen(function*() {
      const before = objects()
      const report = yield* KernelLive.features()
      assert.deepStrictEqual(objects(), before)
      assert.strictEqual(report.features.size, features.length)
      // What every kernel has that these tests run on: the oldest is of 2022.
      for (
        const feature of ["ProgName", "GlobalData", "Btf", "BtfFunc", "BtfDatasec", "ArrayMmap", "BpfCookie"] as const
      ) {
        assert.strictEqual(report.features.get(feature)?._tag, "Supported", feature)
      }
      for (const type of [1, 2, 3, 5, 6, 7, 8]) assert.strictEqual(report.programTypes.get(type)?._tag, "Supported")
      for (const type of [1, 2, 3, 4, 5, 6, 27]) assert.strictEqual(report.mapTypes.get(type)?._tag, "Supported")
    }))

  it.live("is what pure stages are told, and what the kernel's types say where they say anything", () =>
    Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const { features: told } = yield* kernel.ask(features.map((feature) => ({ _tag: "Feature", feature })))
      const types = Facts.make().vmlinux()
      let compared = 0
      for (const feature of features) {
        const fact = told?.get(feature)
        assert.strictEqual(fact?._tag, "Known", feature)
        const has = Result.isSuccess(types) ? fromTypes(types.success, feature) : undefined
        if (fact?._tag !== "Known" || has === undefined || fact.value._tag === "Refused") continue
        assert.deepInclude(fact.value, { _tag: has ? "Supported" : "Unsupported" }, feature)
        compared++
      }
      assert.isAbove(compared, 12)
      assert.strictEqual(KernelInfo.features.length, features.length)
    }))
})

describeWith({ kind: "live", tools: ["setpriv"], root: true }, "feature probe without rights", () => {
  const nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"]

  it("says refused, not unsupported, and still succeeds", () => {
    const { status, stderr, stdout } = run(
      "setpriv",
      [...nobody, process.execPath, bin, "feature", "probe", "--json"],
      {
        env: environment
      }
    )
    assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
    const said: Probed = JSON.parse(stdout)
    assert.deepStrictEqual(said.syscall_config, { have_bpf_syscall: true })
    // An administrator may let everybody load socket filters: nothing else is for everybody.
    const open = new Set(["have_socket_filter_prog_type", "have_cgroup_skb_prog_type"])
    for (const [key, has] of Object.entries(said.program_types)) {
      if (open.has(key)) continue
      assert.isFalse(has, key)
      assert.strictEqual(said.refused[`program_types.${key}`]?.errno, "EPERM", key)
    }
    // Of these the kernel tells everybody: of a system call, and of what it does not know at all.
    const told = ["have_syscall_wrapper", "have_uprobe_syscall", "have_bpf_syscall_common_attrs"]
    for (const key of Object.keys(said.kernel_features).filter((each) => each.startsWith("have_btf"))) {
      assert.strictEqual(said.refused[`kernel_features.${key}`]?.errno, "EPERM", key)
    }
    assert.isTrue(told.every((key) => said.refused[`kernel_features.${key}`] === undefined))
    assert.match(said.refused["kernel_features.have_btf"]?.hint ?? "", /^run as root/)
    const text = run("setpriv", [...nobody, process.execPath, bin, "feature", "probe"], { env: environment }).stdout
    assert.match(text, /^ {2}xdp +refused \(EPERM\)$/m)
    assert.match(text, /^\d+ questions refused, so not known: run as root/m)
  })
})

describeWith({ kind: "live" }, "feature probe", () => {
  it("prints text, and a document with bpftool's sections", () => {
    const text = run(process.execPath, [bin, "feature", "probe"], { env: environment })
    assert.deepStrictEqual({ status: text.status, stderr: text.stderr }, { status: 0, stderr: "" })
    assert.match(text.stdout, /^live, Linux \d/)
    assert.match(text.stdout, /^ {2}ringbuf +yes$/m)
    assert.match(text.stdout, /^ {2}xdp, \d+ helpers: bpf_map_lookup_elem, /m)
    const args = ["feature", "probe", "--json"]
    const { status, stdout } = check(args, run(process.execPath, [bin, ...args], { env: environment }))
    assert.strictEqual(status, 0)
    const said: Probed = JSON.parse(stdout)
    assert.isTrue(said.map_types["have_hash_map_type"])
    assert.include(said.helpers["xdp_available_helpers"] ?? [], "bpf_redirect_map")
    assert.notInclude(said.helpers["xdp_available_helpers"] ?? [], "bpf_skb_load_bytes")
  })
})
