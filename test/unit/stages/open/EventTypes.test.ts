import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../../src/btf/BtfEdit.ts"
import * as Linker from "../../../../src/linker/Linker.ts"
import type { BpfObject } from "../../../../src/stages/open/BpfObject.ts"
import * as EventTypes from "../../../../src/stages/open/EventTypes.ts"
import * as Open from "../../../../src/stages/open/Open.ts"
import { fixture } from "../../../support/Require.ts"

const opened = (name: string): BpfObject => Result.getOrThrow(Open.fromBytes(fixture(name), { path: name }))

const found = (object: BpfObject): ReadonlyArray<EventTypes.EventMap> => Result.getOrThrow(EventTypes.of(object))

const inWords = (object: BpfObject): ReadonlyArray<string> =>
  found(object).map(({ kind, map, name, types }) =>
    `${name} ${kind} ${object.maps[map]?.name === name}: ${
      types.map((type) => `${type.name} ${type.size}${type.flexible ? "+" : ""}`).join(", ")
    }`
  )

/** The object with more in its BTF: `change` is given the id of the variable of a map. */
const edited = (
  name: string,
  change: (editor: BtfEdit.BtfEditor, variable: (map: string) => number, btf: Btf.Btf) => void
): BpfObject => {
  const object = opened(name)
  const { btf } = object
  if (btf === undefined) throw new Error("the fixture has BTF")
  const editor = BtfEdit.edit(btf)
  change(editor, (map) => Btf.findOne(btf, map, Btf.BTF_KIND_VAR) ?? 0, btf)
  return { ...object, btf: Result.getOrThrow(editor.finish()) }
}

const tag = (map: string, ...texts: ReadonlyArray<string>): BpfObject =>
  edited("typed_events.bpf.o", (editor, variable) => {
    for (const text of texts) editor.addDeclTag(text, variable(map), -1)
  })

const errorOf = (object: BpfObject): EventTypes.EventTypeError => {
  const result = EventTypes.of(object)
  if (Result.isSuccess(result)) throw new Error("no error")
  return result.failure
}

describe("EventTypes", () => {
  it.each(["typed_events.bpf.o", "typed_events.eb.o"])("reads the annotations of %s", (name) => {
    assert.deepStrictEqual(inWords(opened(name)), [
      "samples PerfEventArray true: sample_t 24",
      "requests UserRingBuffer true: struct request 8",
      "execs RingBuffer true: struct exec_event 64",
      "mixed RingBuffer true: struct exec_event 64, struct exit_event 16"
    ])
  })

  it("names maps without annotations, too, and needs no BTF", () => {
    assert.deepStrictEqual(inWords(opened("events.bpf.o")), [
      "ring RingBuffer true: ",
      "perf PerfEventArray true: ",
      "requests UserRingBuffer true: "
    ])
    assert.strictEqual(inWords({ ...opened("typed_events.bpf.o"), btf: undefined })[2], "execs RingBuffer true: ")
  })

  it("finds the types after static linking", () => {
    const linked = Result.getOrThrow(
      Linker.link(["typed_events.bpf.o", "test_run.bpf.o"].map((name) => ({ name, bytes: fixture(name) })))
    )
    assert.deepStrictEqual(
      inWords(Result.getOrThrow(Open.fromBytes(linked.bytes))),
      inWords(opened("typed_events.bpf.o"))
    )
  })

  it("takes enums, unions, typedefs and integers by their C names, with spaces where C has them, once each", () => {
    const object = edited("typed_events.bpf.o", (editor, variable) => {
      const int = editor.addInt("long long", 8, Btf.BTF_INT_SIGNED)
      editor.addUnion("word", 8, [{ name: "all", type: int, bitOffset: 0, bitfieldSize: 0 }])
      editor.addEnum("level", 4, [{ name: "LEVEL_LOW", value: 0 }])
      editor.addTypedef("two_words", editor.addArray(int, int, 2))
      for (const text of ["  union   word", "enum level", "two_words", "union word"]) {
        editor.addDeclTag(`event:${text}`, variable("samples"), -1)
      }
    })
    assert.strictEqual(
      inWords(object)[0],
      "samples PerfEventArray true: sample_t 24, union word 8, enum level 4, two_words 16"
    )
  })

  it("passes over other tags and over tags of members", () => {
    const object = edited("typed_events.bpf.o", (editor, variable, btf) => {
      editor.addDeclTag("events:struct nothing", variable("execs"), -1)
      editor.addDeclTag("exported", variable("execs"), -1)
      editor.addDeclTag("event:struct nothing", Btf.findOne(btf, "exec_event", Btf.BTF_KIND_STRUCT) ?? 0, 0)
      editor.addDeclTag("event:struct nothing", variable("sequence"), -1)
    })
    assert.deepStrictEqual(inWords(object), inWords(opened("typed_events.bpf.o")))
  })

  it("tells records apart by their sizes", () => {
    const [samples, , execs, mixed] = found(opened("typed_events.bpf.o"))
    if (execs === undefined || mixed === undefined || samples === undefined) throw new Error("maps")
    assert.strictEqual(EventTypes.typeOfRecord(mixed, 64)?.name, "struct exec_event")
    assert.strictEqual(EventTypes.typeOfRecord(mixed, 16)?.name, "struct exit_event")
    assert.isUndefined(EventTypes.typeOfRecord(mixed, 24))
    assert.isUndefined(EventTypes.typeOfRecord(execs, 16))
    // The kernel fills records of perf buffers up.
    assert.strictEqual(EventTypes.typeOfRecord(samples, 28)?.name, "sample_t")
    assert.isUndefined(EventTypes.typeOfRecord(samples, 24))
    assert.deepStrictEqual([0, 1, 4, 5, 12, 20, 24].map((size) => EventTypes.recordSize("PerfEventArray", size)), [
      4,
      4,
      4,
      12,
      12,
      20,
      28
    ])
  })

  it("knows types that end in a flexible array, however deep", () => {
    const object = edited("typed_events.bpf.o", (editor, variable) => {
      const int = editor.addInt("word", 4, 0)
      const flexible = editor.addArray(int, int, 0)
      const inner = editor.addStruct("inner", 4, [
        { name: "length", type: int, bitOffset: 0, bitfieldSize: 0 },
        { name: "words", type: editor.addTypedef("words_t", flexible), bitOffset: 32, bitfieldSize: 0 }
      ])
      editor.addStruct("outer", 24, [
        { name: "many", type: editor.addArray(int, int, 5), bitOffset: 0, bitfieldSize: 0 },
        { name: "inner", type: inner, bitOffset: 160, bitfieldSize: 0 }
      ])
      editor.addDeclTag("event:struct outer", variable("requests"), -1)
    })
    const requests = found(object)[1]
    if (requests === undefined) throw new Error("map")
    assert.deepStrictEqual(requests.types.map((type) => type.flexible), [false, true])
    assert.deepStrictEqual(
      [8, 23, 24, 25, 400].map((length) => EventTypes.typeOfRecord(requests, length)?.name),
      ["struct request", undefined, "struct outer", "struct outer", "struct outer"]
    )
    // A record of 64 bytes could be either.
    const { message, reason } = errorOf(edited("typed_events.bpf.o", (editor, variable) => {
      const int = editor.addInt("word", 4, 0)
      editor.addStruct("outer", 4, [
        { name: "length", type: int, bitOffset: 0, bitfieldSize: 0 },
        { name: "words", type: editor.addArray(int, int, 0), bitOffset: 32, bitfieldSize: 0 }
      ])
      editor.addDeclTag("event:struct outer", variable("execs"), -1)
    }))
    assert.strictEqual(reason, "Ambiguous")
    assert.include(message, "their sizes overlap")
  })

  it("refuses types that nothing tells apart, by what their readers see", () => {
    const sameSize = (map: string, size: number): BpfObject =>
      edited("typed_events.bpf.o", (editor, variable) => {
        editor.addStruct("twin", size, [])
        editor.addDeclTag("event:struct twin", variable(map), -1)
      })
    const { map, message, reason, type } = errorOf(sameSize("execs", 64))
    assert.deepStrictEqual([reason, map, type], ["Ambiguous", "execs", "struct twin"])
    assert.include(message, "struct exec_event from those of struct twin: both have 64 bytes")
    assert.isTrue(Result.isSuccess(EventTypes.of(sameSize("execs", 60))))
    // 24 bytes and 21 both come as 28.
    assert.include(errorOf(sameSize("samples", 21)).message, "both have 28 bytes")
  })

  it("refuses a map without records", () => {
    const object = edited("xdp_firewall.bpf.o", (editor, variable) => {
      editor.addDeclTag("event:struct packet_event", variable("stats"), -1)
    })
    const { hint, map, message, reason } = errorOf(object)
    assert.deepStrictEqual([reason, map], ["Map", "stats"])
    assert.include(message, "of type hash has no records of type struct packet_event")
    assert.include(hint, "ring buffer")
  })

  it.each([
    ["event:struct exec_evnt", "Unknown", "no type \"struct exec_evnt\"", "const struct exec_evnt *unused_exec_evnt"],
    ["event:exec_event", "Unknown", "no type \"exec_event\"", "write event:struct exec_event"],
    ["event:union exec_event", "Unknown", "no type \"union exec_event\"", "unused_exec_event"],
    ["event:", "Unknown", "no type \"\"", "event:struct exec_event"],
    ["event:struct", "Unknown", "no type \"struct\"", ""],
    ["event:__proto__", "Unknown", "no type \"__proto__\"", ""]
  ])("refuses %s", (text, reason, detail, hint) => {
    const error = errorOf(tag("execs", text))
    assert.strictEqual(error.reason, reason)
    assert.include(error.message, `map execs: `)
    assert.include(error.detail, detail)
    assert.include(error.hint, hint)
  })

  it("refuses a type that is only declared, and one of several", () => {
    const forward = errorOf(edited("typed_events.bpf.o", (editor, variable) => {
      editor.addFwd("later", "struct")
      editor.addDeclTag("event:struct later", variable("execs"), -1)
    }))
    assert.strictEqual(forward.reason, "NoSize")
    assert.include(forward.hint, "const struct later *unused_later")
    const several = errorOf(edited("typed_events.bpf.o", (editor, variable) => {
      editor.addStruct("twice", 4, [])
      editor.addStruct("twice", 12, [])
      editor.addDeclTag("event:struct twice", variable("execs"), -1)
    }))
    assert.strictEqual(several.reason, "Unknown")
    assert.include(several.detail, "2 types that are called struct twice")
    const empty = errorOf(edited("typed_events.bpf.o", (editor, variable) => {
      editor.addTypedef("nothing_t", 0)
      editor.addDeclTag("event:nothing_t", variable("execs"), -1)
    }))
    assert.strictEqual(empty.reason, "NoSize")
  })
})
