/** What sections say of how their programs are attached. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Attach from "../../../../src/attach/Attach.ts"
import * as AttachSpec from "../../../../src/stages/open/AttachSpec.ts"
import { type AutoAttach, builtIn, find } from "../../../../src/stages/open/SectionDefinitions.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as Open from "../../../../src/stages/open/Open.ts"
import { fixture } from "../../../support/Require.ts"

/** What a section says; "?" for those that make no sense. */
const says = (section: string) => {
  const definition = find(section)
  if (definition === undefined) return assert.fail(`${section} is no section`)
  const read = AttachSpec.read(definition.autoAttach, section)
  if (Result.isFailure(read)) return "?"
  return read.success._tag === "Skip" ? "-" : { ...read.success.spec, target: read.success.target }
}

describe("a section", () => {
  const rows: ReadonlyArray<readonly [string, ReturnType<typeof says>]> = [
    ["kprobe", "-"],
    ["kprobe/", "?"],
    ["kprobe/vfs_read", { _tag: "Kprobe", symbol: "vfs_read", offset: 0n, isReturn: false, target: "vfs_read" }],
    ["kprobe/f+0x10", { _tag: "Kprobe", symbol: "f", offset: 16n, isReturn: false, target: "f+0x10" }],
    ["kprobe/f+16", { _tag: "Kprobe", symbol: "f", offset: 16n, isReturn: false, target: "f+0x10" }],
    ["kprobe/f+010", { _tag: "Kprobe", symbol: "f", offset: 8n, isReturn: false, target: "f+0x8" }],
    ["kprobe/f+", "?"],
    ["kprobe/f+-5", "?"],
    ["kprobe/f-5", "?"],
    ["kprobe/f+bar", "?"],
    ["kretprobe/f", { _tag: "Kprobe", symbol: "f", offset: 0n, isReturn: true, target: "f" }],
    ["kretprobe/f+4", "?"],
    ["ksyscall/openat", { _tag: "Ksyscall", name: "openat", isReturn: false, target: "openat" }],
    ["kretsyscall/openat", { _tag: "Ksyscall", name: "openat", isReturn: true, target: "openat" }],
    ["ksyscall", "-"],
    [
      "kprobe.multi/tcp_*",
      { _tag: "KprobeMulti", pattern: "tcp_*", isReturn: false, isSession: false, target: "tcp_*" }
    ],
    ["kretprobe.multi/?", { _tag: "KprobeMulti", pattern: "?", isReturn: true, isSession: false, target: "?" }],
    ["kprobe.session/f", { _tag: "KprobeMulti", pattern: "f", isReturn: false, isSession: true, target: "f" }],
    ["kprobe.multi/a b", "?"],
    ["uprobe", "-"],
    ["uprobe/", "?"],
    ["uprobe/:f", "?"],
    ["uprobe//bin/sh", "?"],
    ["uprobe//bin/sh:", "?"],
    [
      "uprobe//bin/sh:main+0x4",
      { _tag: "Uprobe", path: "/bin/sh", symbol: "main", offset: 4n, isReturn: false, target: "/bin/sh:main+0x4" }
    ],
    [
      "uprobe.s/libc.so.6:malloc",
      { _tag: "Uprobe", path: "libc.so.6", symbol: "malloc", offset: 0n, isReturn: false, target: "libc.so.6:malloc" }
    ],
    [
      "uretprobe/a.apk!/lib/x.so:f@V1",
      {
        _tag: "Uprobe",
        path: "a.apk!/lib/x.so",
        symbol: "f@V1",
        offset: 0n,
        isReturn: true,
        target: "a.apk!/lib/x.so:f@V1"
      }
    ],
    [
      "uprobe//tmp/a:b c:f",
      { _tag: "Uprobe", path: "/tmp/a:b c", symbol: "f", offset: 0n, isReturn: false, target: "/tmp/a:b c:f" }
    ],
    [
      "uprobe/x:operator+",
      { _tag: "Uprobe", path: "x", symbol: "operator+", offset: 0n, isReturn: false, target: "x:operator+" }
    ],
    ["uretprobe/x:f+1", "?"],
    [
      "uretprobe.multi/x:f*",
      { _tag: "UprobeMulti", path: "x", pattern: "f*", isReturn: true, isSession: false, target: "x:f*" }
    ],
    [
      "uprobe.session.s/x:f",
      { _tag: "UprobeMulti", path: "x", pattern: "f", isReturn: false, isSession: true, target: "x:f" }
    ],
    ["uprobe.multi/x", "?"],
    ["usdt", "-"],
    ["usdt.s", "-"],
    ["usdt/x:p:n", { _tag: "Usdt", path: "x", provider: "p", name: "n", target: "x:p:n" }],
    ["usdt.s//a:b:p:n", { _tag: "Usdt", path: "/a:b", provider: "p", name: "n", target: "/a:b:p:n" }],
    ["usdt/x:n", "?"],
    ["tp/a/b", { _tag: "Tracepoint", category: "a", name: "b", target: "a/b" }],
    ["tracepoint.s/a/b/c", { _tag: "Tracepoint", category: "a", name: "b/c", target: "a/b/c" }],
    ["tp/", "?"],
    ["tp/a", "?"],
    ["tp", "-"],
    ["raw_tp/sys_enter", { _tag: "RawTracepoint", name: "sys_enter", target: "sys_enter" }],
    ["raw_tracepoint.w/x", { _tag: "RawTracepoint", name: "x", target: "x" }],
    ["raw_tp/", "?"],
    ["fentry/f", { _tag: "Tracing", target: "f" }],
    ["lsm.s/file_open", { _tag: "Tracing", target: "file_open" }],
    ["iter/task", { _tag: "Iter", target: "task" }],
    ["iter/bpf_map_elem", "-"],
    ["fentry.multi.s/m:f*", { _tag: "TracingMulti", module: "m", pattern: "f*", target: "m:f*" }],
    ["fexit.multi/vmlinux:f", { _tag: "TracingMulti", pattern: "f", target: "vmlinux:f" }],
    ["fsession.multi/a:b:c", "?"],
    ["fsession.multi", "-"],
    ["xdp", "-"],
    ["lsm_cgroup/f", "-"],
    ["struct_ops/f", "-"]
  ]
  for (const [section, expected] of rows) {
    it(`SEC("${section}")`, () => assert.deepStrictEqual(says(section), expected))
  }

  it("of any text says something, or is refused with a hint", () => {
    const routines = [...new Set(builtIn.map(({ autoAttach }) => autoAttach))]
    fc.assert(
      fc.property(
        fc.constantFrom<AutoAttach>(...routines),
        fc.oneof(fc.string({ unit: "grapheme" }), fc.stringMatching(/^[a-z.]+\/[a-z0-9:+!/*?. -]{0,40}$/)),
        (routine, section) => {
          const read = AttachSpec.read(routine, section)
          if (Result.isFailure(read)) assert.isAbove(read.failure.hint.length, 0)
          else assert.include(["Attach", "Skip"], read.success._tag)
        }
      )
    )
  })
})

describe("describe", () => {
  const object = Result.getOrThrow(Open.fromBytes(fixture("struct_ops_link.bpf.o"), { path: "struct_ops_link.bpf.o" }))

  it("plans programs, then structs, and tells why others are left alone", () => {
    const planned = Attach.describe(object)
    assert.deepStrictEqual(planned.filter(({ isMap }) => isMap).map(({ _tag, name }) => `${_tag} ${name}`), [
      "Attach linked",
      "Skip optional",
      "Skip future"
    ])
    assert.isTrue(planned.filter(({ isMap }) => !isMap).every(({ _tag }) => _tag === "Skip"))
    const left = Attach.describe(object, { except: ["linked"] }).find(({ name }) => name === "linked")
    assert.deepInclude(left, { _tag: "Skip", because: "it was to be left alone" })
  })

  it("is of the object as it was edited", () => {
    const sections = Result.getOrThrow(Open.fromBytes(fixture("section_kinds.bpf.o"), { path: "section_kinds.bpf.o" }))
    const only = Result.getOrThrow(Edit.loadOnly(sections, ["kind_kprobe", "kind_xdp"]))
    const planned = new Map(Attach.describe(only).map((each) => [each.name, each]))
    assert.deepInclude(planned.get("kind_kprobe"), { _tag: "Attach", target: "do_unlinkat+0x10" })
    assert.deepInclude(planned.get("kind_xdp"), { _tag: "Skip" })
    assert.deepInclude(planned.get("kind_fentry"), { _tag: "Skip", because: "it is not loaded (autoload is off)" })
  })
})
