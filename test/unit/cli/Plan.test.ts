import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { commandNames, planDocument } from "../../../src/cli/json/PlanDocument.ts"
import { planText } from "../../../src/cli/text/PlanText.ts"
import { plain, render } from "../../../src/cli/text/Text.ts"
import * as KernelInfo from "../../../src/services/Kernel/KernelInfo.ts"
import * as LoadPlan from "../../../src/stages/load/LoadPlan.ts"
import { type PlannedObject, toPlan } from "../../../src/stages/load/Plan.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import { toObject } from "../../../src/stages/relocate/Relocate.ts"
import { allFeatures } from "../../support/AllFeatures.ts"
import { allFixtures, fixture } from "../../support/Require.ts"

const info = KernelInfo.add(KernelInfo.make({ release: "6.99.0", architecture: "x64", byteOrder: "little" }), {
  pageSize: KernelInfo.known(4096),
  possibleCpus: KernelInfo.known(8),
  kernelVersion: KernelInfo.known(0x66300),
  features: allFeatures()
})

const succeed = <A, E extends Error>(result: Result.Result<A, E>): A => {
  if (Result.isFailure(result)) throw result.failure
  return result.success
}

const planned = (name: string): PlannedObject => {
  const object = succeed(Open.fromBytes(fixture(name), { path: name }))
  const relocated = succeed(toObject(object, info))
  if (relocated._tag !== "Done") throw new Error("needs more of the kernel")
  const plan = succeed(toPlan(relocated.value, info))
  if (plan._tag !== "Done") throw new Error("needs more of the kernel")
  return plan.value
}

const textOf = (name: string): string => render(planText(planned(name), "live", name), plain)

describe("PlanText", () => {
  it("lists the calls in order, each with its reason", () => {
    const text = textOf("xdp_firewall.bpf.o")
    assert.match(
      text,
      /^To load xdp_firewall\.bpf\.o on the live kernel \(Linux 6\.99\.0, x64, little-endian; asked for page size 4096, 8 possible CPUs, 26 features\), 11 calls:$/m
    )
    const commands = [...text.matchAll(/^ +\d+ {2}(\w+)/gm)].map(([, command]) => command)
    assert.deepStrictEqual(commands, [
      "BPF_BTF_LOAD",
      "BPF_MAP_CREATE",
      "BPF_MAP_CREATE",
      "BPF_MAP_CREATE",
      "BPF_MAP_CREATE",
      "BPF_MAP_UPDATE_ELEM",
      "BPF_MAP_FREEZE",
      "BPF_MAP_CREATE",
      "BPF_MAP_UPDATE_ELEM",
      "BPF_PROG_LOAD",
      "BPF_PROG_BIND_MAP"
    ])
    assert.match(
      text,
      /map stats: hash, key 4 B \(enum protocol\), value 16 B \(struct protocol_stats\), max_entries 16$/m
    )
    assert.match(text, /if the kernel refuses: the same, without BTF types$/m)
    assert.match(
      text,
      /BPF_PROG_LOAD {8}program xdp_firewall: xdp, attach type xdp, 284 instructions, 5 map references/
    )
    assert.match(text, /optional: a kernel that refuses the types/)
  })

  it("shows both ways of a map that is shared by its pin", () => {
    const text = textOf("pinned_map.bpf.o")
    assert.match(text, /BPF_OBJ_GET +map shared_counters, shared by its pin: \/sys\/fs\/bpf\/shared_counters$/m)
    assert.match(text, /if it is there, it must be: hash, key 4 B, value 8 B, max_entries 8$/m)
    assert.match(text, /3\.2 {2}BPF_OBJ_PIN/)
  })

  it("names inner maps, slots and what closes", () => {
    const text = textOf("map_in_map.bpf.o")
    assert.match(text, /map array_of_maps: array_of_maps, .*holding maps like array_of_maps\.inner$/m)
    assert.match(text, /array_of_maps\[2\] is second_inner: at key 02 00 00 00$/m)
    assert.match(text, /close +array_of_maps\.inner has given its shape$/m)
  })

  it("says when there is nothing to do", () => {
    const firewall = planned("xdp_firewall.bpf.o")
    const text = render(planText({ ...firewall, plan: [] }, "live", "x.o"), plain)
    assert.match(text, /0 calls:\n(?:\S.*\n)+\n {2}none:/)
  })

  it("lists other fallbacks as steps of their own", () => {
    const firewall = planned("xdp_firewall.bpf.o")
    const path = "/sys/fs/bpf/x"
    const plan: LoadPlan.LoadPlan = [LoadPlan.required(
      { _tag: "ObjGet", as: { _tag: "Map", index: 0 }, path },
      "map stats",
      { otherwise: [{ on: ["ENOENT", "EACCES"], steps: firewall.plan.slice(1, 2) }] }
    )]
    const text = render(planText({ ...firewall, plan }, "live", "x.o"), plain)
    assert.match(text, /if the kernel refuses with ENOENT or EACCES:\n +1\.1 {2}BPF_MAP_CREATE/)
  })
})

describe("PlanDocument", () => {
  it("holds the plan as data", () => {
    const assumed = { what: "feature X", value: "absent", why: "a probe: EPERM" }
    const document = JSON.parse(JSON.stringify(planDocument(planned("xdp_firewall.bpf.o"), "live", "fw.o", [assumed])))
    assert.deepStrictEqual(Object.keys(document), [
      "object",
      "kernel",
      "maps",
      "programs",
      "assumed",
      "requirements",
      "steps",
      "core",
      "core_relocations"
    ])
    assert.deepStrictEqual(document.object, { name: "xdp_firewall", path: "fw.o" })
    assert.deepInclude(document.kernel, { name: "live", release: "6.99.0", page_size: 4096 })
    assert.deepStrictEqual(document.assumed, [assumed])
    const [btf, stats] = document.steps
    assert.deepInclude(btf, { call: "BtfLoad", command: "BPF_BTF_LOAD", required: false })
    assert.strictEqual(btf.arguments.as, "btf#0")
    assert.strictEqual(Buffer.from(btf.arguments.bytes, "base64").readUInt16LE(0), 0xeb9f)
    assert.deepInclude(stats.arguments, { as: "map#0" })
    assert.deepInclude(stats.arguments.attr, { name: "stats", key_size: 4, max_entries: 16, extra: "0" })
    assert.strictEqual(stats.otherwise[0].on, "any")
    assert.notProperty(stats.otherwise[0].steps[0].arguments, "types")
    const load = document.steps.find((step: { readonly call?: string }) => step.call === "ProgLoad")
    assert.strictEqual(Buffer.from(load.arguments.code.insns, "base64").length, 284 * 8)
    assert.deepInclude(load.arguments.code.refs, { kind: "MapRef", at: 26, map: "map#0" })
  })

  it("is JSON for every fixture that can be planned", () => {
    let count = 0
    for (const name of allFixtures()) {
      let plan: PlannedObject
      try {
        plan = planned(name)
      } catch {
        continue
      }
      count++
      const text = JSON.stringify(planDocument(plan, "live", name))
      assert.deepStrictEqual(JSON.parse(text), JSON.parse(text))
      assert.notInclude(text, "\"_tag\"")
      assert.include(render(planText(plan, "live", name), plain), name)
    }
    assert.isAbove(count, 10)
  })

  it("names every call as the kernel does: commands of bpf(2), of perf events and of netlink, other system calls", () => {
    const system = /^(mmap|memory write|adopt|unlink|close|open|read|write|perf_event_open|epoll_wait)$/
    for (const command of Object.values(commandNames)) {
      if (!system.test(command)) assert.match(command, /^(BPF|PERF_EVENT_IOC|RTM)_[A-Z_*]+$/)
    }
  })
})

describe("requirements in plans", () => {
  it("are told: the oldest kernel on top, and each with its release and with what needs it", () => {
    const text = textOf("xdp_firewall.bpf.o")
    assert.match(text.split("\n")[1] ?? "", /^It needs Linux 5\.12 and later, for atomic operations/)
    assert.match(text, /^What it needs, since Linux$/m)
    assert.match(text, /^ {2}5\.12 +atomic operations .*: xdp_firewall \(xdp_firewall\.bpf\.c:\d+\)/m)
    assert.match(text, /^ {2}4\.8 +BPF_PROG_TYPE_XDP: xdp_firewall$/m)
    assert.match(text, /^What it uses where the kernel has it$/m)
    assert.match(text, /^ {2}5\.10 +BPF_PROG_BIND_MAP; the load goes on without it$/m)
    assert.match(textOf("attach/sections.bpf.o"), /^To be attached it needs Linux 6\.6 and later/m)
    assert.match(textOf("map_types_new.bpf.o"), /when BPF_MAP_TYPE_RHASH came is not known, which may make it newer/)
  })

  it("say what the kernel of the plan does not have, by its release", () => {
    const plan = planned("arena.bpf.o")
    const old = { ...plan, info: { ...plan.info, release: "6.1.0" } }
    assert.match(
      render(planText(old, "old", "arena.bpf.o"), plain),
      /^By its release this kernel does not have .*, BPF_MAP_TYPE_ARENA/m
    )
    assert.notMatch(textOf("arena.bpf.o"), /By its release/)
    const { requirements } = JSON.parse(JSON.stringify(planDocument(old, "old", "arena.bpf.o")))
    assert.include(requirements.lacking, "BPF_MAP_TYPE_ARENA")
  })

  it("are data", () => {
    const document = JSON.stringify(planDocument(planned("usdt.bpf.o"), "live", "usdt.bpf.o"))
    const { requirements } = JSON.parse(document)
    assert.deepStrictEqual(requirements.oldest.load, {
      release: "5.8",
      because: ["bpf_ringbuf_reserve", "bpf_ringbuf_submit", "BPF_MAP_TYPE_RINGBUF"],
      open: []
    })
    const cookie = requirements.needs.find(({ name }: { name: string }) => name === "bpf_get_attach_cookie")
    assert.deepInclude(cookie, { kind: "helper", since: "5.15", required: false, when: "load" })
    assert.strictEqual(cookie.uses[0].program, "any")
    assert.isAbove(cookie.uses[0].line, 0)
  })
})
