/**
 * What `feature probe` finds on Debian's kernels, beside what is known of them: from the versions in which things came to
 * Linux, and from the configurations of those kernels.
 */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { check } from "../support/Documents.ts"
import { describeWith, repository, run } from "../support/Require.ts"

type Section = "program_types" | "map_types" | "attach_types" | "kernel_features" | "misc"

type Probed = Readonly<Record<Section, Readonly<Record<string, boolean>>>> & {
  readonly syscall_config: Readonly<Record<string, boolean>>
  readonly helpers: Readonly<Record<string, ReadonlyArray<string>>>
  readonly refused: Readonly<Record<string, unknown>>
  readonly system_config: Readonly<Record<string, unknown>>
}

const sections: ReadonlyArray<Section> = ["program_types", "map_types", "attach_types", "kernel_features", "misc"]

/** What a kernel has not, by the section and the middle of the key: `have_X_map_type`, `have_X`. All else it has. */
type Lacks = Readonly<Record<Section, ReadonlyArray<string>>>

const key = (section: Section, name: string): string => {
  const ends: Readonly<Record<Section, string>> = {
    program_types: "_prog_type",
    map_types: "_map_type",
    attach_types: "_attach_type",
    kernel_features: "",
    misc: ""
  }
  return `have_${name}${ends[section]}`
}

/** Newer than both. */
const newer: Lacks = {
  // Kernels for the cloud have no infrared receivers.
  program_types: ["lirc_mode2"],
  // 6.19; not in a release yet
  map_types: ["insn_array", "rhash"],
  attach_types: [
    "lirc_mode2",
    // 6.13
    "trace_uprobe_session",
    // later than 6.18
    "trace_fsession",
    "trace_fentry_multi",
    "trace_fexit_multi",
    "trace_fsession_multi"
  ],
  kernel_features: ["uprobe_syscall", "btf_layout", "ldimm64_full_range_off", "bpf_syscall_common_attrs"],
  misc: []
}

const releases: Readonly<Record<string, Lacks>> = {
  "6.12": newer,
  "6.1": {
    // 6.4
    program_types: [...newer.program_types, "netfilter"],
    // 6.2, 6.9
    map_types: [...newer.map_types, "cgrp_storage", "arena"],
    attach_types: [
      ...newer.attach_types,
      // 5.18, but not configured: CONFIG_FPROBE
      "trace_kprobe_multi",
      // 6.4
      "struct_ops",
      "netfilter",
      // 6.6
      "tcx_ingress",
      "tcx_egress",
      "trace_uprobe_multi",
      // 6.7
      "netkit_primary",
      "netkit_peer",
      "cgroup_unix_connect",
      "cgroup_unix_sendmsg",
      "cgroup_unix_recvmsg",
      "cgroup_unix_getpeername",
      "cgroup_unix_getsockname",
      // 6.10
      "trace_kprobe_session"
    ],
    // 6.6, 6.8, 6.9
    kernel_features: [...newer.kernel_features, "uprobe_multi_link", "arg_ctx_tag", "btf_qmark_datasec"],
    // 6.6
    misc: ["v4_isa_extension"]
  }
}

/** Helpers that programs of a type have in one of the kernels and not in the other. */
const helpers: ReadonlyArray<readonly [type: string, helper: string, since: "6.1" | "6.12"]> = [
  ["xdp", "bpf_xdp_load_bytes", "6.1"],
  ["xdp", "bpf_tcp_raw_gen_syncookie_ipv4", "6.1"],
  ["sched_cls", "bpf_user_ringbuf_drain", "6.1"],
  ["sched_cls", "bpf_cgrp_storage_get", "6.12"],
  ["kprobe", "bpf_cgrp_storage_delete", "6.12"]
]

const release = /^(\d+\.\d+)\./.exec(Os.release())?.[1] ?? ""
const lacks = releases[release]

describeWith(
  { kind: "live", files: [`/boot/config-${Os.release()}`] },
  "feature probe on a kernel that is known",
  () => {
    const { status, stderr, stdout } = run(
      process.execPath,
      [Path.join(repository, "src/bin.ts"), "feature", "probe", "--json"],
      { env: { FORCE_COLOR: "0", NODE_NO_WARNINGS: "1" } }
    )
    const said = (): Probed => JSON.parse(check(["feature", "probe", "--json"], { status, stdout }).stdout)

    it("succeeds, on a kernel of the table, and nothing is refused", () => {
      assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
      assert.isDefined(lacks, Os.release())
      assert.deepStrictEqual(said().syscall_config, { have_bpf_syscall: true })
      // Settings of the compiler are root's to read.
      const refused = Object.keys(said().refused).filter((name) => !name.startsWith("system_config.bpf_jit_"))
      assert.deepStrictEqual(refused, [])
    })

    it.each(sections)("%s are those of the release, no more and no less", (section) => {
      const found = Object.entries(said()[section]).filter(([, has]) => !has).map(([name]) => name)
      const expected = (lacks?.[section] ?? []).map((name) => key(section, name))
      assert.deepStrictEqual(found.toSorted(), expected.toSorted())
      for (const name of expected) assert.property(said()[section], name)
    })

    it("helpers are those of the release", () => {
      for (const [type, helper, since] of helpers) {
        const has = (said().helpers[`${type}_available_helpers`] ?? []).includes(helper)
        assert.strictEqual(has, since === "6.1" || release === "6.12", `${helper} in ${type}`)
      }
    })

    it("the configuration is that of the file that Debian installs", () => {
      const text = Fs.readFileSync(`/boot/config-${Os.release()}`, "utf8")
      for (const [option, value] of Object.entries(said().system_config)) {
        if (!option.startsWith("CONFIG_")) continue
        const written = new RegExp(`^${option}=(.*)$`, "m").exec(text)?.[1] ?? null
        assert.strictEqual(value, written, option)
      }
    })
  }
)
