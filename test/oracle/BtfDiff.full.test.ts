/**
 * Two real kernels' differences beside what follows from bpftool's JSON of each: for every struct, union, enum and
 * function whose name is there once, the members, values and parameters that are gone, new, moved and of another type.
 * pahole is asked for the sizes of a few.
 */
import { assert, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDiff from "../../src/btf/BtfDiff.ts"
import { expectSuccess } from "../support/arbitrary/BtfBlob.ts"
import { describeWith, kernel, kernelsFolder, run } from "../support/Require.ts"
import { assertQuick, cpuTime } from "../support/CpuTime.ts"

const Part = Schema.Struct({
  name: Schema.String,
  type_id: Schema.optionalKey(Schema.Number),
  bits_offset: Schema.optionalKey(Schema.Number),
  bitfield_size: Schema.optionalKey(Schema.Number),
  val: Schema.optionalKey(Schema.Number)
})

const JudgedType = Schema.Struct({
  id: Schema.Number,
  kind: Schema.String,
  name: Schema.String,
  size: Schema.optionalKey(Schema.Number),
  type_id: Schema.optionalKey(Schema.Number),
  ret_type_id: Schema.optionalKey(Schema.Number),
  nr_elems: Schema.optionalKey(Schema.Number),
  fwd_kind: Schema.optionalKey(Schema.String),
  linkage: Schema.optionalKey(Schema.String),
  members: Schema.optionalKey(Schema.Array(Part)),
  values: Schema.optionalKey(Schema.Array(Part)),
  params: Schema.optionalKey(Schema.Array(Part))
})

type JudgedType = typeof JudgedType.Type

/** What bpftool says of a kernel. */
interface Judged {
  readonly types: ReadonlyMap<number, JudgedType>
  /** Types whose name is there once among those of their kind. */
  readonly unique: (kind: string) => ReadonlyMap<string, JudgedType>
  /** How a type is written where it is used. */
  readonly spell: (id: number) => string
}

const decodeTypes = Schema.decodeUnknownSync(Schema.Struct({ types: Schema.Array(JudgedType) }))

const judge = (path: string): Judged => {
  const { types } = decodeTypes(JSON.parse(run("bpftool", ["--json", "btf", "dump", "file", path]).stdout))
  const byId = new Map(types.map((type) => [type.id, type]))
  const spelled = new Map<number, string>()
  const spell = (id: number): string => {
    if (id === 0) return "void"
    const known = spelled.get(id)
    if (known !== undefined) return known
    const text = spellType(byId.get(id))
    spelled.set(id, text)
    return text
  }
  const spellType = (type: JudgedType | undefined): string => {
    if (type === undefined) return "?"
    const inner = (): string => spell(type.type_id ?? 0)
    switch (type.kind) {
      case "PTR":
      case "CONST":
      case "VOLATILE":
      case "RESTRICT":
        return `${type.kind} ${inner()}`
      case "TYPE_TAG":
        return `TAG ${type.name} ${inner()}`
      case "ARRAY":
        return `ARRAY ${type.nr_elems} ${inner()}`
      case "FUNC_PROTO":
        return `PROTO(${(type.params ?? []).map((param) => spell(param.type_id ?? 0)).join()}) ${
          spell(type.ret_type_id ?? 0)
        }`
      case "FWD":
        return `${type.fwd_kind?.toUpperCase()} ${type.name}`
      case "STRUCT":
      case "UNION":
        if (type.name !== "(anon)") return `${type.kind} ${type.name}`
        return `${type.kind} {${(type.members ?? []).map((each) => `${each.name} ${spell(each.type_id ?? 0)}`).join()}}`
      case "ENUM":
      case "ENUM64":
        return type.name === "(anon)"
          ? `ENUM {${(type.values ?? []).map(({ name, val }) => `${name} ${val}`).join()}}`
          : `ENUM ${type.name}`
      default:
        return type.name
    }
  }
  const unique = (kind: string): ReadonlyMap<string, JudgedType> => {
    const found = new Map<string, JudgedType | undefined>()
    for (const type of types) {
      if (type.kind === kind && type.name !== "(anon)") found.set(type.name, found.has(type.name) ? undefined : type)
    }
    return new Map([...found].flatMap(([name, type]) => type === undefined ? [] : [[name, type] as const]))
  }
  return { types: byId, unique, spell }
}

/** Members by name, those of anonymous members among them. */
const members = (
  { spell, types }: Judged,
  type: JudgedType,
  base = 0
): ReadonlyMap<string, { readonly at: number; readonly type: string; readonly isInline: boolean }> => {
  const found = new Map<string, { readonly at: number; readonly type: string; readonly isInline: boolean }>()
  for (const member of type.members ?? []) {
    const at = base + (member.bits_offset ?? 0)
    const of = types.get(member.type_id ?? 0)
    if (member.name === "(anon)" && of !== undefined) {
      for (const [name, each] of members({ spell, types, unique: () => new Map() }, of, at)) found.set(name, each)
      continue
    }
    const text = spell(member.type_id ?? 0)
    found.set(member.name, {
      at,
      type: `${text}:${member.bitfield_size ?? 0}`,
      isInline: /(STRUCT|UNION) \{/.test(text)
    })
  }
  return found
}

/** Names of the outermost level that each kind of change is about, from both sides of the comparison. */
interface Said {
  readonly gone: ReadonlySet<string>
  readonly come: ReadonlySet<string>
  readonly moved: ReadonlySet<string>
  readonly retyped: ReadonlySet<string>
}

const saidBy = (changes: ReadonlyArray<BtfDiff.Change>): Said => {
  const said = {
    gone: new Set<string>(),
    come: new Set<string>(),
    moved: new Set<string>(),
    retyped: new Set<string>()
  }
  for (const change of changes) {
    const path = "path" in change ? change.path : ""
    if (path === "" || path.includes(".")) continue
    if (change._tag === "MemberRemoved") said.gone.add(path)
    else if (change._tag === "MemberAdded") said.come.add(path)
    else if (change._tag === "MemberChanged" && change.path !== change.newPath) {
      said.gone.add(path)
      said.come.add(change.newPath)
    } else if (change._tag === "MemberChanged") {
      if (change.what.includes("moved")) said.moved.add(path)
      const isRetyped = change.what.includes("retyped") || change.what.includes("requalified")
      if (isRetyped || change.before.bitfieldSize !== change.after.bitfieldSize) said.retyped.add(path)
    }
  }
  return said
}

const judgedOf = (one: ReturnType<typeof members>, two: ReturnType<typeof members>): Said => {
  const names = [...one.keys()]
  return {
    gone: new Set(names.filter((name) => !two.has(name))),
    come: new Set([...two.keys()].filter((name) => !one.has(name))),
    moved: new Set(names.filter((name) => two.has(name) && two.get(name)?.at !== one.get(name)?.at)),
    // What is spelled out in place is compared member by member, which is no change of the type.
    retyped: new Set(names.filter((name) => {
      const [was, is] = [one.get(name), two.get(name)]
      return was !== undefined && is !== undefined && was.type !== is.type && !(was.isInline && is.isInline)
    }))
  }
}

const sorted = ({ come, gone, moved, retyped }: Said) => ({
  gone: [...gone].sort(),
  come: [...come].sort(),
  moved: [...moved].sort(),
  retyped: [...retyped].sort()
})

const parsed = (path: string): Btf.Btf => expectSuccess(Btf.parse(new Uint8Array(Fs.readFileSync(path))))

describeWith(
  { kind: "oracle", tools: ["bpftool", "pahole"], files: [kernelsFolder] },
  "the difference of two kernels",
  () => {
    const compared = () => {
      const [older, newer] = [kernel("6.1").btf, kernel("6.12").btf]
      const start = cpuTime()
      const difference = BtfDiff.diff(parsed(older), parsed(newer))
      return { older, newer, difference, milliseconds: cpuTime() - start }
    }
    let memo: ReturnType<typeof compared> | undefined
    const of = () => (memo ??= compared())
    let judges: readonly [Judged, Judged] | undefined
    const judged = () => (judges ??= [judge(of().older), judge(of().newer)])

    it("is computed within seconds, and is not incomplete", () => {
      assertQuick(of().milliseconds, 10_000)
      assert.deepStrictEqual(of().difference.changed.filter(({ incomplete }) => incomplete), [])
    })

    for (const [kind, judgeKind] of [["struct", "STRUCT"], ["union", "UNION"]] as const) {
      it(`says of each ${kind} which members are gone, new, moved and of another type`, () => {
        const [older, newer] = judged()
        const before = older.unique(judgeKind)
        const after = newer.unique(judgeKind)
        const changes = new Map(
          of().difference.changed.filter((change) => change.before.kind === kind).map((change) => [
            change.before.name,
            change
          ])
        )
        let count = 0
        for (const [name, one] of before) {
          const two = after.get(name)
          if (two === undefined) continue
          const expected = judgedOf(members(older, one), members(newer, two))
          const change = changes.get(name)
          assert.deepStrictEqual(sorted(saidBy(change?.changes ?? [])), sorted(expected), `${kind} ${name}`)
          const resized = change?.changes.find(({ _tag }) => _tag === "Resized")
          assert.strictEqual(resized !== undefined, one.size !== two.size, `${kind} ${name}`)
          if (change !== undefined) count += 1
        }
        assert.isAbove(count, kind === "struct" ? 1000 : 10)
      })
    }

    it("says of each enum which values are gone, new and renumbered", () => {
      const [older, newer] = judged()
      const after = newer.unique("ENUM")
      let count = 0
      for (const [name, one] of older.unique("ENUM")) {
        const two = after.get(name)
        if (two === undefined) continue
        const was = new Map((one.values ?? []).map(({ name, val }) => [name, val]))
        const is = new Map((two.values ?? []).map(({ name, val }) => [name, val]))
        const expected = [
          ...[...was.keys()].filter((value) => is.get(value) !== was.get(value)),
          ...[...is.keys()].filter((value) => !was.has(value))
        ].sort()
        const change = of().difference.changed.find(({ before }) => before.kind === "enum" && before.name === name)
        const said = (change?.changes ?? []).flatMap((each) => {
          if (each._tag === "ValueRenamed") return [each.name, each.newName]
          return "name" in each ? [each.name] : []
        }).sort()
        assert.deepStrictEqual(said, expected, name)
        if (expected.length > 0) count += 1
      }
      assert.isAbove(count, 100)
    })

    it("says of each function whether its prototype is another one", () => {
      const [older, newer] = judged()
      const after = newer.unique("FUNC")
      const changed = new Set(
        of().difference.changed.filter(({ before, changes }) =>
          before.kind === "func" && changes.some(({ _tag }) => _tag !== "TagAdded" && _tag !== "TagRemoved")
        ).map(({ before }) => before.name)
      )
      const signature = (judge: Judged, { linkage, type_id }: JudgedType): string => {
        const names = judge.types.get(type_id ?? 0)?.params?.map(({ name }) => name).join() ?? ""
        return `${linkage} ${judge.spell(type_id ?? 0)} ${names}`
      }
      let count = 0
      for (const [name, one] of older.unique("FUNC")) {
        const two = after.get(name)
        if (two === undefined) continue
        assert.strictEqual(changed.has(name), signature(older, one) !== signature(newer, two), name)
        count += 1
      }
      assert.isAbove(count, 10_000)
    })

    it("lists the names that only one of them has", () => {
      const [older, newer] = judged()
      for (const [kind, judgeKind] of [["typedef", "TYPEDEF"], ["func", "FUNC"], ["var", "VAR"]] as const) {
        const before = new Set(
          [...older.types.values()].filter((type) => type.kind === judgeKind).map(({ name }) => name)
        )
        const after = new Set(
          [...newer.types.values()].filter((type) => type.kind === judgeKind).map(({ name }) => name)
        )
        const gone = new Set(of().difference.removed.filter((type) => type.kind === kind).map(({ name }) => name))
        for (const name of before) if (!after.has(name)) assert.isTrue(gone.has(name), `${kind} ${name}`)
        const come = new Set(of().difference.added.filter((type) => type.kind === kind).map(({ name }) => name))
        for (const name of after) if (!before.has(name)) assert.isTrue(come.has(name), `${kind} ${name}`)
      }
    })

    it("has pahole's sizes", () => {
      for (const name of ["task_struct", "sk_buff", "file", "inode", "mm_struct", "sock"]) {
        const change = of().difference.changed.find(({ before }) => before.name === name && before.kind === "struct")
        const resized = change?.changes.find((each) => each._tag === "Resized")
        const size = (path: string): number => {
          const { stdout } = run("pahole", ["-F", "btf", "-C", name, path])
          return Number(/\/\* size: (\d+)/.exec(stdout)?.[1])
        }
        const sizes = [size(of().older), size(of().newer)]
        assert.deepStrictEqual(
          resized?._tag === "Resized" ? [resized.before, resized.after] : [sizes[0], sizes[0]],
          sizes,
          name
        )
      }
    })

    it("tells the breaks that everybody knows", () => {
      const breaks = of().difference.changed.flatMap((change) => change.breaks.map(({ path }) => path))
      // Both were removed between the two.
      for (const path of ["task_struct.rss_stat", "task_struct.thread_group"]) assert.include(breaks, path)
      assert.notInclude(breaks, "task_struct.pid")
    })
  }
)
