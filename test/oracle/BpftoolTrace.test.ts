/**
 * Plans before their judge: call by call, what strace sees `bpftool prog loadall` do with the same object.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { MapFlag } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import type { LoadPlan } from "../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../src/stages/Stage.ts"
import { allFixtures, describeWith, fixture, repository, run, temporaryFolder } from "../support/Require.ts"
import { followPlan, readTrace, straceOptions, type TracedCall } from "../support/Trace.ts"

/** What bpftool 7.1 does not load here, and the words with which it says so. */
const refused: Readonly<Record<string, string>> = {
  "arena.bpf.o": "attr 'map_extra': expected PTR",
  "arena_anywhere.bpf.o": "skipping unrecognized data section(5) .addr_space.1",
  "arena_empty.bpf.o": "failed to load object",
  "bss_custom.bpf.o": "elf: skipping section(6) .bss.custom",
  "exceptions.bpf.o": "exception callback type id not found",
  "legacy_maps.bpf.o": "legacy map definitions",
  "legacy_maps_extended.bpf.o": "legacy map definitions",
  "link_main.bpf.o": "unrecognized extern section '.maps'",
  "map_in_map_late.bpf.o": "failed to initialize slot",
  "map_types_new.bpf.o": "map 'type_insn_array': failed to create: Invalid argument",
  "section_kinds.bpf.o": "failed to guess program type",
  "static_entry.bpf.o": "is static and not supported",
  "struct_ops_link.bpf.o": "failed to load object",
  "struct_ops_shapes.bpf.o": "failed to pin all programs",
  "usdt_wide.bpf.o": "failed to guess program type"
}

/** Fixtures with programs that are not loaded: bpftool pins every program, loaded or not, and complains of these. */
const withOptional: ReadonlySet<string> = new Set(["tracepoint.bpf.o", "program_targets.bpf.o", "usdt.bpf.o"])

/** A USDT program, as newer libbpf and we load it, for uprobe_multi links; bpftool 7.1 does not know those. */
const usdt = {
  name: /^PROG_LOAD prog_name=(marker|any) /,
  ours: "expected_attach_type=48",
  bpftool: "expected_attach_type=0"
}

/**
 * Maps of variables that are all static: bpftool 7.1 makes them mappable, as every map of variables; libbpf since 1.1 does
 * not, and neither do we.
 */
const mappable: Readonly<Record<string, ReadonlyArray<string>>> = {
  "global_data.bpf.o": [".data.static", ".rodata.str1.1"],
  "link_library.bpf.o": ["link_lib.data"],
  "prog_streams.bpf.o": ["prog_str.bss", "prog_str.rodata"],
  "trace_events.bpf.o": [".rodata.str1.1"],
  "typed_events.bpf.o": ["typed_ev.rodata", ".rodata.str1.1"]
}

const pathOf = (name: string): string => Path.join(repository, "test/fixtures", name)

const pins = "/sys/fs/bpf/loaded_by_bpftool"

/** Loads a fixture with bpftool in a bpf file system that nobody else sees, and reads the trace. */
const traced = (name: string) => {
  const output = Path.join(temporaryFolder(), "trace")
  const script = "mount -t bpf bpf /sys/fs/bpf && exec strace -o \"$@\""
  const command = ["bpftool", "prog", "loadall", pathOf(name), pins]
  const done = run("unshare", ["--mount", "sh", "-c", script, "sh", output, ...straceOptions, ...command])
  return { ...done, calls: readTrace(Fs.readFileSync(output, "utf8"), pins) }
}

const planned = (name: string): Promise<LoadPlan> =>
  Effect.runPromise(
    Stage.pipeline(Open.open({ path: pathOf(name) }), Relocate.relocate, Plan.plan).run(fixture(name)).pipe(
      Effect.map(({ plan }) => plan),
      Effect.provide(KernelLive.layer)
    )
  )

/** The text of a map's creation with the flag of mappable maps taken out, which must be there. */
const withoutMappable = (text: string): string =>
  text.replace(/map_flags=(\d+)/, (_, flags: string) => {
    assert.strictEqual(Number(flags) & MapFlag.BPF_F_MMAPABLE, MapFlag.BPF_F_MMAPABLE)
    return `map_flags=${Number(flags) ^ MapFlag.BPF_F_MMAPABLE}`
  })

const texts = (calls: ReadonlyArray<TracedCall>): ReadonlyArray<string> => calls.map(({ text }) => text)

describeWith(
  { kind: "live", tools: ["bpftool", "strace", "unshare", "mount"] },
  "plans, beside bpftool under strace",
  () => {
    for (const name of allFixtures().filter((each) => each.endsWith(".bpf.o"))) {
      it(name, async () => {
        const { calls, status, stderr } = traced(name)
        const reason = refused[name]
        if (reason !== undefined) {
          assert.include(stderr, reason)
          assert.notStrictEqual(status, 0)
          return
        }
        if (!withOptional.has(name)) assert.strictEqual(status, 0, stderr)
        assert.isAbove(calls.length, 1)
        const wanted = texts(calls).map((text) =>
          mappable[name]?.some((map) => text.startsWith(`MAP_CREATE map_name=${map} `)) === true
            ? withoutMappable(text)
            : usdt.name.test(text)
            ? text.replace(usdt.bpftool, usdt.ours)
            : text
        )
        assert.deepStrictEqual(followPlan(await planned(name), (position) => calls[position]?.failed === true), wanted)
      })
    }

    it("a plan without one of its steps, or in another order, is seen", async () => {
      const { calls } = traced("xdp_firewall.bpf.o")
      const plan = await planned("xdp_firewall.bpf.o")
      const wanted = texts(calls)
      assert.deepStrictEqual(followPlan(plan, () => false), wanted)
      for (const [position] of plan.entries()) {
        assert.notDeepEqual(followPlan(plan.filter((_, index) => index !== position), () => false), wanted)
      }
      assert.notDeepEqual(followPlan([...plan].reverse(), () => false), wanted)
    })

    it("the normalisation is short", () => {
      assert.isAtMost(readTrace.toString().split("\n").length, 30)
    })
  }
)
