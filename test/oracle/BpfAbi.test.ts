/**
 * The running kernel as the judge of our tables: its own BTF gives `union bpf_attr`, the info structures and the
 * enumerations, clang works out every offset; what are macros comes from the C library's header; and bpftool of names.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Layout } from "../../src/services/Kernel/abi/Arena.ts"
import * as Attr from "../../src/services/Kernel/abi/Attr.ts"
import * as C from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import { describeWith, run, temporaryFolder } from "../support/Require.ts"

/** A layout, the C type it is, and where in that type its fields are: by name, or in a member that is common to most. */
interface Judged {
  readonly layout: Layout
  readonly type: string
  readonly member?: string
  readonly named?: Readonly<Record<string, string>>
}

const attr = "union bpf_attr"

const linkCreate = (layout: Layout, kind: string, renamed: Readonly<Record<string, string>> = {}): Judged => ({
  layout,
  type: attr,
  named: Object.fromEntries(
    Object.keys(layout.fields).map((field) => [
      field,
      `link_create.${["prog_fd", "target_fd", "attach_type", "flags"].includes(field) ? "" : kind}${
        renamed[field] ?? field
      }`
    ])
  )
})

const layouts: Readonly<Record<keyof typeof Attr, Judged>> = {
  MapCreate: { layout: Attr.MapCreate, type: attr },
  MapElement: { layout: Attr.MapElement, type: attr },
  MapGetNextKey: { layout: Attr.MapGetNextKey, type: attr },
  MapFreeze: { layout: Attr.MapFreeze, type: attr },
  MapBatch: { layout: Attr.MapBatch, type: attr, member: "batch" },
  ProgLoad: { layout: Attr.ProgLoad, type: attr },
  ObjectPath: { layout: Attr.ObjectPath, type: attr },
  ProgAttach: { layout: Attr.ProgAttach, type: attr },
  ProgTestRun: { layout: Attr.ProgTestRun, type: attr, member: "test" },
  Ids: { layout: Attr.Ids, type: attr },
  BtfGetFdById: { layout: Attr.BtfGetFdById, type: attr },
  GetInfo: { layout: Attr.GetInfo, type: attr, member: "info" },
  ProgQuery: { layout: Attr.ProgQuery, type: attr, member: "query" },
  RawTracepointOpen: { layout: Attr.RawTracepointOpen, type: attr, member: "raw_tracepoint" },
  BtfLoad: { layout: Attr.BtfLoad, type: attr },
  TaskFdQuery: { layout: Attr.TaskFdQuery, type: attr, member: "task_fd_query" },
  LinkCreate: linkCreate(Attr.LinkCreate, ""),
  LinkCreateIter: linkCreate(Attr.LinkCreateIter, ""),
  LinkCreatePerfEvent: linkCreate(Attr.LinkCreatePerfEvent, "perf_event."),
  LinkCreateKprobeMulti: linkCreate(Attr.LinkCreateKprobeMulti, "kprobe_multi.", { kprobe_flags: "flags" }),
  LinkCreateTracing: linkCreate(Attr.LinkCreateTracing, "tracing."),
  LinkCreateNetfilter: linkCreate(Attr.LinkCreateNetfilter, "netfilter.", { netfilter_flags: "flags" }),
  LinkCreateOrdered: linkCreate(Attr.LinkCreateOrdered, "tcx."),
  LinkCreateUprobeMulti: linkCreate(Attr.LinkCreateUprobeMulti, "uprobe_multi.", { uprobe_flags: "flags" }),
  LinkCreateTracingMulti: linkCreate(Attr.LinkCreateTracingMulti, "tracing_multi."),
  LinkUpdate: { layout: Attr.LinkUpdate, type: attr, member: "link_update" },
  LinkDetach: { layout: Attr.LinkDetach, type: attr, member: "link_detach" },
  EnableStats: { layout: Attr.EnableStats, type: attr, member: "enable_stats" },
  IterCreate: { layout: Attr.IterCreate, type: attr, member: "iter_create" },
  ProgBindMap: { layout: Attr.ProgBindMap, type: attr, member: "prog_bind_map" },
  TokenCreate: { layout: Attr.TokenCreate, type: attr, member: "token_create" },
  ProgStreamRead: { layout: Attr.ProgStreamRead, type: attr, member: "prog_stream_read" },
  ProgAssocStructOps: { layout: Attr.ProgAssocStructOps, type: attr, member: "prog_assoc_struct_ops" },
  MapInfo: { layout: Attr.MapInfo, type: "struct bpf_map_info" },
  ProgInfo: { layout: Attr.ProgInfo, type: "struct bpf_prog_info" },
  BtfInfo: { layout: Attr.BtfInfo, type: "struct bpf_btf_info" },
  LinkInfo: { layout: Attr.LinkInfo, type: "struct bpf_link_info" }
}

/** What Linux 6.18 has not; a newer kernel judges these too. */
const newer =
  /^(LinkCreateTracingMulti|ProgAssocStructOps)\.|^LinkCreateUprobeMulti\.path_fd$|^BPF_(PROG_ASSOC_STRUCT_OPS|TRACE_F(SESSION|ENTRY_MULTI|EXIT_MULTI|SESSION_MULTI)|MAP_TYPE_(INSN_ARRAY|RHASH)|LINK_TYPE_TRACING_MULTI|F_CPU|F_ALL_CPUS|F_RB_OVERWRITE)$/

/** A number that we say, under a name, and the C expression that gives the kernel's. */
interface Claim {
  readonly name: string
  readonly ours: number
  readonly expression: string
}

/** A bit field has no offset; it is checked by what the live tests read from it. */
const offsetClaims: ReadonlyArray<Claim> = Object.entries(layouts).flatMap(([name, { layout, member, named, type }]) =>
  Object.entries(layout.fields).filter(([field]) => !(name === "ProgInfo" && field === "bits")).flatMap(
    ([field, at]) => {
      const path = named?.[field] ?? (member === undefined ? field : `${member}.${field}`)
      return [
        { name: `${name}.${field}`, ours: at.offset, expression: `__builtin_offsetof(${type}, ${path})` },
        { name: `${name}.${field}`, ours: at.size, expression: `sizeof(((${type} *)0)->${path})` }
      ]
    }
  )
)

/** Claims of tables whose names are C expressions by themselves. */
const claimsOf = (tables: ReadonlyArray<Readonly<Record<string, number | bigint>>>): ReadonlyArray<Claim> =>
  tables.flatMap((table) => Object.entries(table)).map(([name, value]) => ({
    name,
    ours: Number(value),
    expression: name
  }))

const enumerators = claimsOf([C.Command, C.MapType, C.ProgType, C.AttachType, C.LinkType, C.MapFlag, C.ElementFlag])

const isMissing = /error: (no member named|use of undeclared identifier)/

/**
 * What clang says each expression comes to after these lines of C. Expressions that name what the C does not have are
 * left out of the answer.
 */
const judge = (prologue: string, claims: ReadonlyArray<Claim>): ReadonlyMap<Claim, number> => {
  const folder = temporaryFolder()
  const source = Path.join(folder, "judge.c")
  const program = Path.join(folder, "judge")
  const compile = (candidates: ReadonlyArray<Claim>) => {
    const lines = candidates.map(({ expression }) => `  printf("%lld\\n", (long long)(${expression}));`)
    const before = `${prologue}\nint printf(const char *, ...);\nint main(void) {\n`
    Fs.writeFileSync(source, `${before}${lines.join("\n")}\n  return 0;\n}\n`)
    const result = run("clang", ["-w", "-ferror-limit=0", "-fno-builtin", source, "-o", program])
    return { first: before.split("\n").length, result }
  }
  const { first, result } = compile(claims)
  const missing = new Set<number>()
  for (const line of result.stderr.split("\n")) {
    const at = /^[^:]*judge\.c:(\d+):\d+: /.exec(line)
    if (at !== null && isMissing.test(line)) missing.add(Number(at[1]) - first)
    else assert.isFalse(/ error: /.test(line), line)
  }
  const present = claims.filter((_, index) => !missing.has(index))
  assert.strictEqual(compile(present).result.status, 0)
  const printed = run(program, []).stdout.trim().split("\n")
  return new Map(present.map((claim, index) => [claim, Number(printed[index])]))
}

const disagreements = (claims: ReadonlyArray<Claim>, answers: ReadonlyMap<Claim, number>): ReadonlyArray<string> =>
  claims.flatMap((claim) => {
    const theirs = answers.get(claim)
    if (theirs === undefined) return newer.test(claim.name) ? [] : [`${claim.name}: the kernel has none`]
    return theirs === claim.ours ? [] : [`${claim.name}: ${claim.expression} is ${theirs}, not ${claim.ours}`]
  })

describeWith(
  { kind: "oracle", tools: ["bpftool", "clang"], files: ["/sys/kernel/btf/vmlinux"] },
  "the kernel's own types",
  () => {
    const dumped = run("bpftool", ["btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c"])
    const prologue = `#define BPF_NO_PRESERVE_ACCESS_INDEX\n${dumped.stdout}`

    it("place every field of the attributes and infos where our layouts do", () => {
      assert.strictEqual(dumped.status, 0, dumped.stderr)
      const answers = judge(prologue, offsetClaims)
      assert.isAbove(answers.size, 300)
      assert.deepStrictEqual(disagreements(offsetClaims, answers), [])
    })

    it("number commands, types and flags as our tables do", () => {
      const answers = judge(prologue, enumerators)
      assert.isAbove(answers.size, 190)
      assert.deepStrictEqual(disagreements(enumerators, answers), [])
    })

    it("have no map, program, attach or link type, and no command, that our tables lack", () => {
      const theirs = [
        ...dumped.stdout.matchAll(/^\t(BPF_(?:MAP_TYPE|PROG_TYPE|LINK_TYPE)_\w+) = \d+,$/gm)
      ].map((match) => match[1] ?? "")
      const attach = /^enum bpf_attach_type \{\n([^}]*)\}/m.exec(dumped.stdout)?.[1] ?? ""
      const commands = /^enum bpf_cmd \{\n([^}]*)\}/m.exec(dumped.stdout)?.[1] ?? ""
      const inEnum = (body: string) => [...body.matchAll(/^\t(BPF_\w+) =/gm)].map((match) => match[1] ?? "")
      const ours = new Set(
        [C.Command, C.MapType, C.ProgType, C.AttachType, C.LinkType].flatMap((table) => Object.keys(table))
      )
      const aliases = new Set([
        "BPF_PROG_RUN",
        "BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED",
        "BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE_DEPRECATED"
      ])
      const all = [...theirs, ...inEnum(attach), ...inEnum(commands)]
      assert.isAbove(all.length, 150)
      assert.deepStrictEqual(all.filter((name) => !ours.has(name) && !aliases.has(name)), [])
    })

    it("named fault: a field that is moved, and an enumerator that is renumbered, are seen", () => {
      const moved: ReadonlyArray<Claim> = [
        { name: "ProgLoad.log_true_size", ours: 136, expression: `__builtin_offsetof(${attr}, log_true_size)` },
        { name: "BPF_MAP_TYPE_RINGBUF", ours: 28, expression: "BPF_MAP_TYPE_RINGBUF" },
        { name: "ProgLoad.no_such_field", ours: 0, expression: `__builtin_offsetof(${attr}, no_such_field)` }
      ]
      assert.strictEqual(disagreements(moved, judge(prologue, moved)).length, 3)
    })
  }
)

describeWith(
  { kind: "oracle", tools: ["clang"], files: ["/usr/include/linux/bpf.h"] },
  "the C library's headers",
  () => {
    const headers = "#include <linux/bpf.h>\n#include <linux/magic.h>\n#include <errno.h>"

    it("define flags and sizes as our tables do", () => {
      const sizes = {
        BPF_OBJ_NAME_LEN: C.BPF_OBJ_NAME_LEN,
        BPF_TAG_SIZE: C.BPF_TAG_SIZE,
        BPF_FS_MAGIC: C.BPF_FS_MAGIC
      }
      const claims = claimsOf([C.ProgFlag, C.AttachFlag, C.LinkFlag, C.TestRunFlag, sizes])
      // The header of the C library is older than the kernel.
      const answers = judge(headers, claims)
      assert.isAbove(answers.size, 14)
      assert.deepStrictEqual(claims.filter((claim) => answers.has(claim) && answers.get(claim) !== claim.ours), [])
    })

    it("number errors as our table does", () => {
      const claims = claimsOf([Errno.numbers]).filter(({ name }) => name !== "ENOTSUPP")
      assert.deepStrictEqual(disagreements(claims, judge(headers, claims)), [])
    })
  }
)

describeWith({ kind: "oracle", tools: ["bpftool"] }, "bpftool's names", () => {
  describe("are ours, as far as its version goes", () => {
    const kinds = [
      ["map_types", C.mapTypeName, C.mapTypeByName],
      ["prog_types", C.progTypeName, C.progTypeByName],
      ["attach_types", C.attachTypeName, C.attachTypeByName],
      ["link_types", C.linkTypeName, C.linkTypeByName]
    ] as const
    for (const [kind, nameOf, byName] of kinds) {
      it(kind, () => {
        const listed = run("bpftool", ["feature", "list_builtins", kind])
        assert.strictEqual(listed.status, 0, listed.stderr)
        const names = listed.stdout.trim().split("\n")
        assert.isAbove(names.length, 8)
        assert.deepStrictEqual(names.map((_, index) => nameOf(index)), names)
        assert.deepStrictEqual(names.map((name) => byName(name)), names.map((_, index) => index))
      })
    }
  })
})
