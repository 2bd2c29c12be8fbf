/** What objects need of BPF itself, held against kernels: by what was tried, by types, by releases. */
import { assert, describe, it } from "@effect/vitest"
import * as Requirements from "../../../../src/diagnostics/Requirements.ts"
import * as Needs from "../../../../src/diagnostics/compatibility/Needs.ts"
import { helperReleases } from "../../../../src/diagnostics/requirements/HelperReleases.ts"
import { isAttachType, releases } from "../../../../src/diagnostics/requirements/TypeReleases.ts"
import * as B from "../../../support/arbitrary/BtfBlob.ts"
import { brief, check, kernel } from "../../../support/CheckKernels.ts"
import { opened } from "../../stages/Pipeline.ts"

/** The types of a kernel that has these helpers, types of maps and ways to attach. */
const types = (helpers: ReadonlyArray<string>, maps: ReadonlyArray<string>, attach: ReadonlyArray<string>) => {
  const all = (names: ReadonlyArray<string>): ReadonlyArray<readonly [string, number]> =>
    names.map((name, value) => [name, value])
  return [
    B.enumeration("bpf_func_id", 4, false, all(["unspec", ...helpers].map((name) => `BPF_FUNC_${name}`))),
    B.enumeration("bpf_map_type", 4, false, all(["UNSPEC", ...maps].map((name) => `BPF_MAP_TYPE_${name}`))),
    B.enumeration("bpf_attach_type", 4, false, all(attach.map((name) => `BPF_${name}`)))
  ]
}

const fatal = (cell: ReturnType<typeof check>): Array<string> =>
  cell.findings.filter(({ verdict }) => verdict === "fatal").map(({ subject }) => subject)

describe("what an object needs of BPF", () => {
  it("is there by the kernel's release", () => {
    const arena = opened("arena.bpf.o")
    const old = check(arena, kernel([], [], { release: "6.1.0-47-cloud-amd64" }))
    assert.strictEqual(old.verdict, "fatal")
    assert.sameMembers(fatal(old), ["casts between address spaces", "BPF_MAP_TYPE_ARENA"])
    const cast = old.findings.find(({ subject }) => subject.startsWith("casts"))
    assert.strictEqual(cast?.rule, "kernel-feature")
    assert.match(cast?.detail ?? "", /^it came with Linux 6\.9, and the kernel is 6\.1\.0-47-cloud-amd64$/)
    assert.deepStrictEqual(cast?.programs, ["use_arena"])
    assert.isAbove(cast?.source?.line ?? 0, 0)
    const fitting = check(arena, kernel([], [], { release: "6.9.0" }))
    assert.deepStrictEqual([fitting.verdict, fitting.findings, fitting.unchecked], ["green", [], []])
  })

  it("is there by the kernel's types, whatever the release", () => {
    const object = opened("trace_events.bpf.o")
    const without = types(["ringbuf_submit"], ["HASH"], [])
    assert.include(fatal(check(object, kernel(without, [], { release: "6.1.0" }))), "BPF_MAP_TYPE_RINGBUF")
    assert.include(fatal(check(object, kernel(without, [], { release: "6.1.0" }))), "bpf_ringbuf_output")
    const has = types(["ringbuf_output"], ["RINGBUF", "ARRAY", "HASH"], [])
    assert.notIncludeMembers(fatal(check(object, kernel(has, [], { release: "5.4.0" }))), [
      "BPF_MAP_TYPE_RINGBUF",
      "bpf_ringbuf_output"
    ])
  })

  it("is there by what trying the kernel has shown, before its release", () => {
    const object = opened("global_data.bpf.o")
    const features = { GlobalData: false }
    const found = check(object, kernel([], [], { release: "6.12.0", features }))
    assert.deepStrictEqual(fatal(found), ["variables in sections of data"])
    assert.deepStrictEqual(fatal(check(object, kernel([], [], { release: "6.12.0" }))), [])
    assert.deepStrictEqual(
      fatal(check(object, kernel([], [], { release: "5.17.0", features: { GlobalData: true } }))),
      []
    )
  })

  it("is told of and stops nothing where the object checks for it, or where only attaching needs it", () => {
    const usdt = check(opened("usdt.bpf.o"), kernel([], [], { release: "5.8.0" }))
    assert.strictEqual(usdt.verdict, "guarded")
    assert.include(brief(usdt), "guarded kernel-feature bpf_get_attach_cookie")
    assert.deepStrictEqual(fatal(usdt), [])
    const sections = check(opened("attach/sections.bpf.o"), kernel([], [], { release: "6.1.0" }))
    const multi = sections.findings.find(({ subject }) => subject === "BPF_LINK_TYPE_UPROBE_MULTI")
    assert.match(multi?.detail ?? "", /can be loaded, and what needs it not attached$/)
    assert.strictEqual(multi?.verdict, "guarded")
  })

  it("is not checked where neither types nor a release tell, in one phrase", () => {
    const { findings, unchecked, verdict } = check(opened("xdp_firewall.bpf.o"), kernel([], []))
    assert.deepStrictEqual([verdict, findings, unchecked], [
      "green",
      [],
      ["whether the kernel has what Linux 5.12 has"]
    ])
  })

  it("is there by what came before and after, where types have no release", () => {
    const upTo = (release: string) => {
      const there = (names: ReadonlyMap<string, string>, prefix: string): ReadonlyArray<string> =>
        [...names].filter(([name, since]) => name.startsWith(prefix) && Requirements.compare(since, release) <= 0)
          .map(([name]) => name.slice(prefix.length))
      const attach = there(releases, "BPF_").filter((name) => isAttachType(`BPF_${name}`))
      return types(there(helperReleases, "bpf_"), there(releases, "BPF_MAP_TYPE_"), attach)
    }
    const cell = (release: string) => check(opened("xdp_firewall.bpf.o"), kernel(upTo(release), []))
    assert.match(
      cell("5.10").findings[0]?.detail ?? "",
      /came with Linux 5\.12, and by its types the kernel is older than 5\.1\d/
    )
    assert.deepStrictEqual(fatal(cell("5.10")).length, 1)
    assert.deepStrictEqual([cell("6.1").verdict, cell("6.1").unchecked], ["green", []])
    // Types of a kernel that has what is newer, and lacks what is older, tell of no release.
    const odd = types(["map_lookup_elem", "map_update_elem", "cgrp_storage_get"], ["HASH", "ARRAY"], ["XDP"])
    assert.deepStrictEqual(check(opened("xdp_firewall.bpf.o"), kernel(odd, [])).unchecked.length, 1)
  })

  it("named fault: requirements that a load replaces would be findings on any old kernel", () => {
    const { all } = Requirements.ofObject(opened("usdt.bpf.o"))
    const target = kernel([], [], { release: "4.19.0" })
    const found = (requirements: typeof all): ReadonlyArray<string> =>
      Needs.examine(target, requirements).findings.map(({ subject }) => subject)
    assert.notInclude(found(all), "bpf_probe_read_kernel")
    const asIf = all.map((each) => ({ ...each, replaced: false as const }))
    assert.include(found(asIf), "bpf_probe_read_kernel")
  })
})
