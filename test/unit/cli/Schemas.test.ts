/** The schemas of the command's documents: what is published, and that they tell right from wrong. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Command from "effect/cli/Command"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { subcommands } from "../../../src/cli/Main.ts"
import type * as Btf from "../../../src/cli/schemas/Btf.ts"
import { broken, outlines } from "../../../src/cli/schemas/Outline.ts"
import { fileName, jsonSchema, listed, schemaText, version } from "../../../src/cli/schemas/Published.ts"
import { commands, published } from "../../../src/cli/schemas/Schemas.ts"
import { fault, faultOf, wordsOf } from "../../support/Documents.ts"
import { command } from "../../support/InProcess.ts"
import { repository, temporaryFolder } from "../../support/Require.ts"

const folder = Path.join(repository, "docs/schemas")

/** A program as bpftool would show it. */
const prog = {
  id: 7,
  type: "xdp",
  tag: "0123456789abcdef",
  gpl_compatible: true,
  orphaned: false,
  bytes_xlated: 64,
  jited: false
}

const shown = (document: unknown, status = 0) =>
  faultOf(["prog", "show", "id", "7", "--json"], { status, stdout: `${JSON.stringify(document)}\n` })

/** The words of commands that do something: those that have verbs do nothing themselves. */
const leaves = (all: ReadonlyArray<Command.Command.Any>, before = ""): ReadonlyArray<string> =>
  all.flatMap(({ name, subcommands }) => {
    const verbs = subcommands.flatMap(({ commands }) => commands)
    return verbs.length === 0 ? [`${before}${name}`] : leaves(verbs, `${before}${name} `)
  })

/** Whether a module imports schemas for more than their types. */
const loadsSchemas = (source: string): boolean =>
  [...source.matchAll(/^(?:import|export)\s(?!type\s)[^"]*"([^"]*)"|import\("([^"]*)"\)/gm)]
    .some(([, still = "", later = ""]) => /\/schemas\//.test(still + later))

type Node = { readonly [key: string]: unknown }

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && !Array.isArray(value)

const nodesOf = (value: unknown): ReadonlyArray<Node> => Array.isArray(value) ? value.filter(isNode) : []

/** Whether it is said what a part of a document is: by the part, by what it refers to, or by all that it may be. */
const isDescribed = (node: Node, root: Node): boolean => {
  if (typeof node["description"] === "string" || typeof node["title"] === "string" || "enum" in node) return true
  if (typeof node["$ref"] === "string") {
    const defs = root["$defs"]
    const definition = isNode(defs) ? defs[node["$ref"].slice("#/$defs/".length)] : undefined
    return isNode(definition) && isDescribed(definition, { ...root, $defs: {} })
  }
  return node["type"] === "null" ||
    nodesOf(node["anyOf"]).some((one) => one["type"] !== "null" && isDescribed(one, root))
}

/** Where a schema takes keys that it does not name, and keys that it does not describe. */
const looseIn = (root: Node): ReadonlyArray<string> => {
  const look = (node: Node, at: string): ReadonlyArray<string> => {
    const { additionalProperties: more, items, properties } = node
    const keys = isNode(properties) ? Object.entries(properties) : []
    return [
      ...(isNode(properties) && more !== false ? [at] : []),
      ...keys.flatMap(([key, each]) => isNode(each) && !isDescribed(each, root) ? [`${at}/${key}`] : []),
      ...keys.flatMap(([key, each]) => isNode(each) ? look(each, `${at}/${key}`) : []),
      ...(isNode(items) ? look(items, `${at}[]`) : []),
      ...(isNode(more) ? look(more, `${at}{}`) : []),
      ...["anyOf", "oneOf", "allOf", "prefixItems"].flatMap((key) =>
        nodesOf(node[key]).flatMap((each, index) => look(each, `${at}/${index}`))
      )
    ]
  }
  const defs = root["$defs"]
  return [
    ...look(root, "#"),
    ...(isNode(defs) ? Object.entries(defs) : []).flatMap(([name, each]) => isNode(each) ? look(each, `#${name}`) : [])
  ]
}

const strictly = { onExcessProperty: "error" } as const

/** A change of a document: of which part, in what way. */
interface Made {
  readonly steps: ReadonlyArray<number>
  readonly way: "drop" | "add" | "replace"
  readonly value: unknown
}

const change: fc.Arbitrary<Made> = fc.record({
  steps: fc.array(fc.nat(), { minLength: 1, maxLength: 7 }),
  way: fc.constantFrom("drop", "add", "replace"),
  value: fc.constantFrom<unknown>(null, true, 7, -7, 7.5, "other", "7", [], {}, [0], { other: 0 })
})

/** Changes a part of a document, which is found by taking the entry of each step until there is none. */
const changed = (document: unknown, { steps, value, way }: Made): void => {
  let part: unknown = document
  for (const [at, step] of steps.entries()) {
    if (typeof part !== "object" || part === null) return
    const entries: ReadonlyArray<readonly [string, unknown]> = Object.entries(part)
    const [key, next] = entries[step % Math.max(1, entries.length)] ?? ["other", undefined]
    const isLast = at === steps.length - 1 || typeof next !== "object" || next === null
    if (!isLast) {
      part = next
      continue
    }
    if (way === "drop" && !Array.isArray(part)) Reflect.deleteProperty(part, key)
    else if (way === "add" && !Array.isArray(part)) Reflect.set(part, "another", value)
    else Reflect.set(part, key, value)
    return
  }
}

describe("schemas of documents", () => {
  it("are published as they are in the sources: npm run schemas writes them", () => {
    const files = Fs.readdirSync(folder).filter((name) => name.endsWith(".json")).sort()
    assert.deepStrictEqual(files, Object.keys(published).map(fileName).sort())
    for (const [words, each] of Object.entries(published)) {
      assert.strictEqual(Fs.readFileSync(Path.join(folder, fileName(words)), "utf8"), schemaText(words, each), words)
    }
  })

  it("are for readers: no command loads them, but for types", () => {
    const folder = Path.join(repository, "src")
    const loading = Fs.readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.startsWith("cli/schemas/"))
      .filter((name) => loadsSchemas(Fs.readFileSync(Path.join(folder, name), "utf8")))
    assert.deepStrictEqual(loading, [])
    // Named faults, and what is none.
    assert.isTrue(loadsSchemas(`import { Prog } from "../schemas/Prog.ts"`))
    assert.isTrue(loadsSchemas(`import {\n  type A,\n  Prog\n} from "./schemas/Prog.ts"`))
    assert.isTrue(loadsSchemas(`const { published } = await import("./schemas/Schemas.ts")`))
    assert.isFalse(loadsSchemas(`import type * as Documents from "../schemas/Prog.ts"`))
  })

  it("are listed in docs/json.md", () => {
    const page = Fs.readFileSync(Path.join(repository, "docs/json.md"), "utf8")
    assert.strictEqual(listed(page, published), page)
    assert.include(page, "](schemas/prog-show.json)")
    // Named fault: a command that the page does not know.
    assert.notStrictEqual(listed(page, { ...published, other: published["failure"] ?? assert.fail() }), page)
  })

  it("are schemas that ajv takes, in its strict mode", () => {
    // None of them takes what is no document at all.
    for (const [words, each] of Object.entries(published)) assert.isDefined(fault(words, each, 7.5), words)
  })

  it("are strict, and describe every key", () => {
    for (const [words, each] of Object.entries(published)) {
      // Failures have the fields of their errors; the loader is described where runners are.
      const loose = looseIn(jsonSchema(words, each)).filter((at) => words !== "gen loader" || !at.startsWith("#/1/"))
      assert.deepStrictEqual(loose, words === "failure" ? ["#"] : [], words)
    }
    // Named faults.
    const schema = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] }
    assert.deepStrictEqual(looseIn(schema), ["#", "#/a"])
    assert.deepStrictEqual(looseIn({ anyOf: [{ items: schema }, { additionalProperties: schema }] }), [
      "#/0[]",
      "#/0[]/a",
      "#/1{}",
      "#/1{}/a"
    ])
    const described = { ...schema, properties: { a: { description: "A." } }, additionalProperties: false }
    assert.deepStrictEqual(looseIn(described), [])
  })

  it("keep what was promised: npm run schemas -- --promise promises what has come, with a release", () => {
    const promised = Fs.readFileSync(Path.join(repository, `test/fixtures/documents/${version}.txt`), "utf8")
    assert.deepStrictEqual(broken(promised, outlines(published)), [])
    assert.include(promised, "prog show: [] object\nprog show: []/id! integer\n")
  })

  it("named fault: promises that are broken are told, and what is added breaks none", () => {
    const one = (schema: Schema.Constraint) => outlines({ one: { description: "One.", schema } })
    const before = Schema.Struct({ id: Schema.Finite, name: Schema.optionalKey(Schema.String) })
    const breaking = (schema: Schema.Constraint) => broken(one(before), one(schema))
    assert.deepStrictEqual(breaking(before), [])
    assert.deepStrictEqual(breaking(Schema.Struct({ ...before.fields, more: Schema.String })), [])
    assert.deepStrictEqual(breaking(Schema.Struct({ id: Schema.Finite, name: Schema.String })), [])
    assert.deepStrictEqual(breaking(Schema.Struct({ name: before.fields.name })), ["one: /id has gone"])
    assert.deepStrictEqual(breaking(Schema.Struct({ ...before.fields, id: Schema.NullOr(Schema.Finite) })), [
      "one: /id may be null"
    ])
    assert.deepStrictEqual(breaking(Schema.Struct({ ...before.fields, id: Schema.optionalKey(Schema.Finite) })), [
      "one: /id is not always there"
    ])
    assert.deepStrictEqual(breaking(Schema.Union([before, Schema.Struct({ other: Schema.Finite })])), [
      "one: /id is not always there"
    ])
    assert.deepStrictEqual(breaking(Schema.Union([before, Schema.Array(before)])), ["one:  may be array"])
    assert.deepStrictEqual(broken(one(before), ""), ["one:  has gone", "one: /id has gone", "one: /name has gone"])
  })

  it("take what bpftool would show", () => {
    assert.strictEqual(shown(prog), undefined)
    assert.strictEqual(shown([prog, { ...prog, id: 8, name: "other" }]), undefined)
    assert.strictEqual(shown({ error: "no", type: "UsageError", hints: [] }, 2), undefined)
  })

  it("named fault: a key too many, one too few and one of another type are told", () => {
    assert.include(shown({ ...prog, colour: "red" }), "must NOT have additional properties")
    assert.include(shown([{ ...prog, colour: "red" }]), "must NOT have additional properties")
    const { tag: _, ...few } = prog
    assert.include(shown(few), "must have required property 'tag'")
    assert.include(shown({ ...prog, id: "7" }), "/id must be integer")
    assert.include(shown({ ...prog, id: -7 }), "/id must be >= 0")
  })

  it("are the types of documents: a key too many, one too few and one of another type do not compile", () => {
    const blob: typeof Btf.Blob.Type = { path: "x.btf", bytes: 24, types: 0, byte_order: "little", base_types: null }
    // @ts-expect-error a key that the schema does not name
    const more: typeof Btf.Blob.Type = { path: "", bytes: 1, types: 1, byte_order: "big", base_types: 1, colour: "red" }
    // @ts-expect-error none that it names is left out
    const less: typeof Btf.Blob.Type = { path: "", bytes: 1, types: 1, byte_order: "big" }
    // @ts-expect-error a text that is none of its texts
    const other: typeof Btf.Blob.Type = { ...blob, byte_order: "middle" }
    assert.deepStrictEqual(
      [blob, more, less, other].map((each) => fault("btf relocate", commands["btf relocate"] ?? assert.fail(), each))
        .map((wrong) => wrong === undefined),
      [true, false, false, false]
    )
  })

  it("named fault: a failure with another status, or with less, is told", () => {
    assert.isDefined(shown({ error: "no", type: "UsageError", hints: [] }, 0))
    assert.isDefined(shown({ error: "no", type: "UsageError" }, 1))
  })

  it("named fault: documents of which there should be one are told", () => {
    const twice = `${JSON.stringify(prog)}\n${JSON.stringify(prog)}\n`
    assert.include(faultOf(["prog", "show", "--json"], { status: 0, stdout: twice }), "printed 2 documents")
    assert.include(faultOf(["prog", "show", "--json"], { status: 0, stdout: "" }), "printed 0 documents")
    assert.include(faultOf(["prog", "show", "--json"], { status: 0, stdout: "7: xdp" }), "printed what is no JSON")
    assert.include(faultOf(["prog", "show", "-p"], { status: 0, stdout: "[\n  7\n" }), "printed what is no JSON")
  })

  it("are found by the words of a command, wherever its flags stand", () => {
    const found = (...args: ReadonlyArray<string>) => wordsOf(args)
    assert.strictEqual(found("--json", "--sarif", "log.sarif", "prog", "-p", "show", "id", "7"), "prog show")
    assert.strictEqual(found("inspect", "prog.bpf.o", "--json"), "inspect")
    assert.strictEqual(found("run", "prog", "show"), "run")
    assert.isUndefined(found("prog", "--json"))
    assert.isUndefined(found("toString", "--json"))
    const other = { status: 0, stdout: "{}" }
    assert.isDefined(faultOf(["inspect", "x.o", "--sarif", "log.sarif", "-j"], other))
    assert.isUndefined(faultOf(["inspect", "x.o", "--sarif", "-", "--pretty"], other))
    assert.isUndefined(faultOf(["inspect", "x.o"], other))
  })

  it("look at the documents inside that of a batch", () => {
    const batch = (...output: ReadonlyArray<unknown>) =>
      faultOf(["batch", "file", "-", "--json"], {
        status: 0,
        stdout: JSON.stringify(output.map((each) => ({ command: ["prog", "show"], output: each })))
      })
    const failed = { error: "no", type: "UsageError", hints: [] }
    assert.isUndefined(batch(prog, [prog], [prog, prog], null, "7: xdp", failed))
    assert.include(batch(prog, { ...prog, colour: "red" }), "prog show --json")
    assert.isDefined(batch([prog, { ...prog, colour: "red" }]))
  })

  it("look at documents that are laid out, too", () => {
    const stdout = `${JSON.stringify({ ...prog, colour: "red" }, undefined, 2)}\n`
    assert.isDefined(faultOf(["prog", "show", "--pretty"], { status: 0, stdout }))
    assert.isUndefined(faultOf(["prog", "show", "-p"], { status: 0, stdout: JSON.stringify(prog, undefined, 2) }))
  })

  it("are there for every command, and for nothing else", () =>
    Effect.runPromise(Effect.gen(function*() {
      // Asked for completions, the command loads all of its parts.
      const found = leaves(yield* subcommands(["--completions=bash"]))
      assert.include(found, "btf dump")
      assert.deepStrictEqual(found.toSorted(), Object.keys(commands).toSorted())
    })))

  it.live("mean what the schemas that they are made of mean: a change of a document is refused by both or by none", () =>
    Effect.gen(function*() {
      const fixture = (name: string) => Path.join(repository, "test/fixtures", name)
      const linked = Path.join(temporaryFolder(), "linked.bpf.o")
      const documents = yield* Effect.forEach([
        ["inspect", fixture("tracepoint.bpf.o"), "--insns"],
        ["plan", fixture("pinned_map.bpf.o"), "--kernel", "simulated"],
        ["gen", "object", linked, fixture("link_main.bpf.o"), fixture("link_library.bpf.o")],
        ["gen", "loader", fixture("tracepoint.bpf.o")],
        ["feature", "probe", "--kernel", "simulated"]
      ], (args) => Effect.map(command(...args, "--json"), ({ stdout }) => ({ words: wordsOf(args) ?? "", stdout })))
      const refusedBy = (words: string, document: unknown) => {
        const each = commands[words] ?? assert.fail(words)
        const decode = Schema.decodeUnknownResult(Schema.toType(Schema.toEncoded(each.schema)), strictly)
        return { ajv: fault(words, each, document) !== undefined, effect: Result.isFailure(decode(document)) }
      }
      for (const { stdout, words } of documents) {
        assert.deepStrictEqual(refusedBy(words, JSON.parse(stdout)), { ajv: false, effect: false }, words)
      }
      let refused = 0
      fc.assert(fc.property(fc.constantFrom(...documents), change, ({ stdout, words }, made) => {
        const document: unknown = JSON.parse(stdout)
        changed(document, made)
        const by = refusedBy(words, document)
        if (by.ajv) refused++
        assert.strictEqual(by.ajv, by.effect, words)
      }))
      // Named fault: most changes make another document, and are found.
      assert.isAbove(refused, 20)
    }))
})
