/** Words in the manner of bpftool, and what the verbs of `map` and `prog` do: on a simulated kernel, in this process. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { elementJson } from "../../../src/cli/json/ElementDocument.ts"
import { exact } from "../../../src/cli/json/Exact.ts"
import { jsonText } from "../../../src/cli/json/Json.ts"
import { mapJson, progJson } from "../../../src/cli/json/ObjectsDocument.ts"
import { xlatedJson } from "../../../src/cli/json/XlatedDocument.ts"
import * as MapVerbs from "../../../src/cli/map/Verbs.ts"
import * as Objects from "../../../src/cli/objects/Objects.ts"
import * as Words from "../../../src/cli/objects/Words.ts"
import * as LoadWords from "../../../src/cli/prog/LoadWords.ts"
import * as ProgVerbs from "../../../src/cli/prog/Verbs.ts"
import { elementsText, mapsText } from "../../../src/cli/text/MapsText.ts"
import { progsText, xlatedText } from "../../../src/cli/text/ProgsText.ts"
import { plain, render } from "../../../src/cli/text/Text.ts"
import type { UsageError } from "../../../src/cli/Usage.ts"
import { Kernel, type KernelShape } from "../../../src/services/Kernel/Kernel.ts"
import { type CallError, fromErrno } from "../../../src/services/Kernel/KernelError.ts"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import { observe } from "../../../src/services/Kernel/KernelTraced.ts"
import { search } from "../../../src/services/Kernel/live/SymbolNames.ts"
import * as Execute from "../../../src/stages/load/Execute.ts"
import * as Plan from "../../../src/stages/load/Plan.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import * as Relocate from "../../../src/stages/relocate/Relocate.ts"
import { fixture } from "../../support/Require.ts"

const usage = (result: Result.Result<unknown, UsageError>): string =>
  Result.isFailure(result) ? result.failure.message : assert.fail("the words were taken")

/** Runs a body in a session on a simulated kernel of three CPUs. */
const onSimulated = <A, E>(
  body: (objects: Objects.Objects) => Effect.Effect<A, E, Kernel | Scope.Scope>,
  change: (kernel: KernelShape) => KernelShape = (kernel) => kernel
) =>
  Effect.gen(function*() {
    const { kernel } = yield* KernelSimulated.make({ possibleCpus: 3 })
    return yield* Effect.scoped(Effect.flatMap(Objects.open, body)).pipe(Effect.provideService(Kernel, change(kernel)))
  })

/** What went wrong, as it is said. */
const said = <A, R>(effect: Effect.Effect<A, CallError | UsageError, R>) =>
  Effect.map(Effect.flip(effect), (error) => `${error._tag}: ${error.message}`)

/** The words of a line. */
const w = (line: string): Words.Words => line.split(" ").filter((word) => word !== "")

const noDevices = (): undefined => undefined
const create = (objects: Objects.Objects, line: string) => MapVerbs.create(objects, w(line), noDevices)

describe("words", () => {
  it("numbers are C's", () => {
    const cases: ReadonlyArray<readonly [string, bigint | undefined]> = [
      ["0", 0n],
      ["255", 255n],
      ["0x1F", 31n],
      ["017", 15n],
      ["08", undefined],
      ["", undefined],
      ["1e3", undefined],
      ["-1", undefined],
      ["0x", undefined]
    ]
    for (const [word, value] of cases) assert.strictEqual(Words.number(word), value, word)
  })

  it("references are read to their end, and written again", () => {
    for (const line of ["id 7", "pinned /p", "name x"]) {
      const [reference, rest] = Result.getOrThrow(Words.reference("map", w(`${line} key 1`)))
      assert.strictEqual(Words.written(reference), line)
      assert.deepStrictEqual(rest, ["key", "1"])
    }
    const [tag] = Result.getOrThrow(Words.reference("prog", ["tag", "00112233AABBCCDD"]))
    assert.deepStrictEqual(tag, { _tag: "Tag", tag: "00112233aabbccdd" })
  })

  it("what is no reference is told, with what would be", () => {
    assert.match(usage(Words.reference("map", [])), /map: none is named\nhint: a map is id N, pinned FILE or name NAME/)
    assert.match(usage(Words.reference("map", ["tag", "0"])), /maps have no tags/)
    assert.match(usage(Words.reference("prog", ["tag", "0"])), /16 hexadecimal digits/)
    assert.match(usage(Words.reference("prog", ["id", "4294967296"])), /from 0 to 4294967295/)
    assert.match(usage(Words.reference("prog", ["id"])), /a number is expected/)
    assert.match(usage(Words.reference("prog", ["x"])), /x: this begins no prog/)
  })

  it("bytes are as many as there are, each a byte", () => {
    const read = (line: string, size: number) => Words.bytes("key", w(line), size)
    assert.deepStrictEqual(Result.getOrThrow(read("1 0x02 010 value 3", 3)), [Uint8Array.of(1, 2, 8), ["value", "3"]])
    assert.deepStrictEqual(Result.getOrThrow(read("hex 0a ff", 2)), [Uint8Array.of(10, 255), []])
    assert.match(usage(read("1 2", 3)), /key: it has 3 bytes, and 2 are given/)
    assert.match(usage(read("1 2 3 4 value", 3)), /3 bytes, and 4 are given/)
    assert.match(usage(read("256", 1)), /256: byte 0 of the key is a number from 0 to 255/)
    assert.match(usage(read("hex 1g", 1)), /two hexadecimal digits/)
  })

  it("of load: type, maps, folder", () => {
    const words = w("type xdp map name a id 3 map idx 1 pinned /p pinmaps /d")
    assert.deepStrictEqual(Result.getOrThrow(LoadWords.read(words, undefined)), {
      type: "xdp",
      autoattach: false,
      maps: [{ map: "a", by: { _tag: "Id", id: 3 } }, { map: 1, by: { _tag: "Pinned", path: "/p" } }],
      pinmaps: "/d"
    })
    assert.match(usage(LoadWords.read(["autoattached"], undefined)), /nothing of this name is known/)
    assert.isTrue(Result.getOrThrow(LoadWords.read(["autoattach"], undefined)).autoattach)
    assert.match(usage(LoadWords.read(["offload_dev", "eth0"], undefined)), /not into a device/)
    assert.match(usage(LoadWords.read(["pinmaps", "/a"], "/b")), /given twice/)
    assert.match(usage(LoadWords.read(["map", "x"], undefined)), /which map of the object/)
  })

  it("of dump and run", () => {
    assert.match(usage(ProgVerbs.dumpOf(["compiled", "id", "1"])), /what is to be shown of the program is expected/)
    assert.include(Result.getOrThrow(ProgVerbs.dumpOf(["jited", "id", "1", "opcodes"])), {
      form: "jited",
      opcodes: true
    })
    assert.match(usage(ProgVerbs.dumpOf(w("xlated id 1 visual"))), /graphs are not drawn/)
    assert.include(Result.getOrThrow(ProgVerbs.dumpOf(w("xlated id 1 linum opcodes file f"))), {
      linum: true,
      opcodes: true,
      file: "f"
    })
    assert.include(Result.getOrThrow(ProgVerbs.runOf(w("id 1 data_in a data_out - repeat 5"))), {
      dataIn: "a",
      dataOut: undefined,
      repeat: 5
    })
    assert.match(usage(ProgVerbs.runOf(w("id 1 repeat 1 repeat 2"))), /given twice/)
    assert.match(usage(ProgVerbs.runOf(w("id 1 data_in"))), /a file is expected/)
  })

  it("of create", () => {
    assert.match(usage(MapVerbs.wantedMap([])), /where the map is to be pinned/)
    assert.match(
      usage(MapVerbs.wantedMap(w("/p type hsh name x"))),
      /no map type of this name\nhint: did you mean hash/
    )
    assert.match(usage(MapVerbs.wantedMap(w("/p type hash"))), /name: none is given/)
    assert.match(usage(MapVerbs.wantedMap(w("/p key 4 key 4"))), /given twice/)
    assert.match(usage(MapVerbs.wantedMap(w("/p size 4"))), /nothing of this name describes a map/)
  })
})

describe("map", () => {
  it.effect("create, update, lookup, getnext, dump, delete", () =>
    onSimulated(Effect.fnUntraced(function*(objects) {
      yield* create(objects, "/sys/fs/bpf/m type hash key 2 value 4 entries 4 name ports")
      const map = ["pinned", "/sys/fs/bpf/m"]
      const update = (line: string) => MapVerbs.update(objects, [...map, ...w(line)])
      yield* update("key 1 0 value 0x10 0 0 0")
      yield* update("key hex 02 00 value hex 20 00 00 00 noexist")
      assert.match(yield* said(update("key 2 0 value 1 1 1 1 noexist")), /EEXIST/)
      assert.match(yield* said(update("key 9 0 value 1 1 1 1 exist")), /ENOENT/)
      assert.match(yield* said(update("key 9 0 value 1 1 1 1 perhaps")), /UsageError: perhaps: .*\nhint: any/)
      assert.match(yield* said(update("key 9 0 value 1 1 1 1 any more")), /UsageError: more: nothing more/)
      assert.match(yield* said(update("key 9 value 1 1 1 1")), /UsageError: key: it has 2 bytes, and 1 is given/)
      assert.match(yield* said(update("key 9 0")), /UsageError: value: none is given/)
      assert.match(yield* said(update("value 1 1 1 1")), /UsageError: key: none is given; it has 2 bytes/)

      const found = yield* MapVerbs.lookup(objects, [...map, "key", "1", "0"])
      assert.deepStrictEqual(found.value, Uint8Array.of(16, 0, 0, 0))
      assert.isUndefined((yield* MapVerbs.lookup(objects, [...map, "key", "3", "0"])).value)
      const first = yield* MapVerbs.getNext(objects, map)
      assert.isDefined(first.next)

      const dumped = yield* MapVerbs.dump(objects, map)
      const documents = dumped.elements.map((element) => elementJson(dumped.shape, element))
      assert.sameDeepMembers([...documents], [
        { key: ["0x01", "0x00"], value: ["0x10", "0x00", "0x00", "0x00"] },
        { key: ["0x02", "0x00"], value: ["0x20", "0x00", "0x00", "0x00"] }
      ])
      assert.match(render(elementsText(dumped.shape, dumped), plain), /01 00 {2}10 00 00 00[^]*2 elements/)

      yield* MapVerbs.remove(objects, [...map, "key", "1", "0"])
      assert.match(yield* said(MapVerbs.remove(objects, [...map, "key", "1", "0"])), /MapDelete of ports: .*ENOENT/)
      assert.strictEqual((yield* MapVerbs.dump(objects, map)).elements.length, 1)

      const { all, maps } = yield* MapVerbs.show(objects, [])
      assert.isTrue(all)
      assert.include(mapJson(maps[0] ?? assert.fail("no map")), {
        id: 1,
        type: "hash",
        name: "ports",
        bytes_key: 2,
        bytes_value: 4,
        max_entries: 4,
        frozen: 0
      })
      assert.match(render(mapsText(maps, new Map()), plain), /1 +hash +ports +2 B +4 B +4/)
    })))

  it.effect("per-CPU values: one for all, or one for each", () =>
    onSimulated(Effect.fnUntraced(function*(objects) {
      yield* create(objects, "/sys/fs/bpf/m type percpu_array key 4 value 4 entries 1 name each")
      yield* MapVerbs.update(objects, w("name each key 0 0 0 0 value 7 0 0 0"))
      const { elements: [element], shape } = yield* MapVerbs.dump(objects, w("name each"))
      const value = ["0x07", "0x00", "0x00", "0x00"]
      assert.deepStrictEqual(elementJson(shape, element ?? assert.fail("no element")), {
        key: ["0x00", "0x00", "0x00", "0x00"],
        values: [{ cpu: 0, value }, { cpu: 1, value }, { cpu: 2, value }]
      })
    })))

  it.effect("maps in maps, by any reference", () =>
    onSimulated(Effect.fnUntraced(function*(objects) {
      yield* create(objects, "/sys/fs/bpf/in type hash key 4 value 4 entries 4 name inner")
      yield* create(
        objects,
        "/sys/fs/bpf/out type array_of_maps key 4 value 4 entries 2 name outer inner_map pinned /sys/fs/bpf/in"
      )
      yield* MapVerbs.update(objects, w("name outer key 1 0 0 0 value name inner"))
      const { elements, shape } = yield* MapVerbs.dump(objects, w("name outer"))
      // The other place is empty, and says nothing.
      assert.deepStrictEqual(elements.map((element) => elementJson(shape, element)), [
        { key: ["0x01", "0x00", "0x00", "0x00"], value: ["0x01", "0x00", "0x00", "0x00"], inner_map_id: 1 }
      ])
    })))

  it.effect("names that are ambiguous list the candidates", () =>
    onSimulated(Effect.fnUntraced(function*(objects) {
      for (const path of ["a", "b"]) {
        yield* create(objects, `/sys/fs/bpf/${path} type hash key 4 value 4 entries 4 name same`)
      }
      assert.strictEqual(
        yield* said(MapVerbs.dump(objects, w("name same"))),
        "UsageError: name same: 2 maps are called so\nhint: choose one: id 1 (hash same), id 2 (hash same)"
      )
      assert.strictEqual((yield* MapVerbs.show(objects, w("name same"))).maps.length, 2)
      assert.match(yield* said(MapVerbs.show(objects, w("name other"))), /UsageError: name other: no map is called so/)
      assert.match(yield* said(MapVerbs.dump(objects, w("id 9"))), /KernelError: GetById of map 9: .*ENOENT/)
    })))

  it.effect("what goes between listing and opening is left out; what is forbidden is told", () =>
    Effect.gen(function*() {
      const failing = (errno: number, tag: "GetById" | "MapGetInfo" = "GetById") => (kernel: KernelShape) => {
        let listed = false
        let failed = false
        return observe(kernel, {
          before: ({ call }) => {
            listed ||= call._tag === "IdNext"
            if (!listed || failed || call._tag !== tag) return Effect.void
            failed = true
            return fromErrno(tag, "map 1", errno)
          },
          after: () => Effect.void
        })
      }
      const two = Effect.fnUntraced(function*(objects: Objects.Objects) {
        for (const path of ["a", "b"]) {
          yield* create(objects, `/sys/fs/bpf/${path} type hash key 4 value 4 entries 4 name ${path}`)
        }
        return (yield* MapVerbs.show(objects, [])).maps.map(({ info }) => info.name)
      })
      assert.deepStrictEqual(yield* onSimulated(two), ["a", "b"])
      assert.deepStrictEqual(yield* onSimulated(two, failing(2)), ["b"])
      assert.match(yield* said(onSimulated(two, failing(1))), /GetById of map 1: .*EPERM/)
      // The network device is gone that it was for.
      assert.deepStrictEqual(yield* onSimulated(two, failing(19)), ["b"])
      assert.deepStrictEqual(yield* onSimulated(two, failing(19, "MapGetInfo")), ["b"])
      assert.match(yield* said(onSimulated(two, failing(1, "MapGetInfo"))), /MapGetInfo of map 1: .*EPERM/)
    }))
})

/** Loads the firewall into the session's kernel, where it stays as long as the scope. */
const firewall = Effect.gen(function*() {
  const opened = yield* Effect.fromResult(Open.fromBytes(fixture("xdp_firewall.bpf.o"), { path: "xdp_firewall.bpf.o" }))
  return yield* Execute.toLoaded(yield* Plan.plan.run(yield* Relocate.relocate.run(opened)))
})

describe("identifiers", () => {
  it.effect("are those of what there is: objects leave with their last reference", () =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelSimulated.make()
      const idsOf = Effect.scoped(Effect.gen(function*() {
        const session = yield* kernel.session()
        const found: Array<string> = []
        for (const kind of ["Btf", "Map", "Prog", "Link"] as const) {
          let id = yield* session.call({ _tag: "IdNext", kind, after: 0 })
          for (; id !== undefined; id = yield* session.call({ _tag: "IdNext", kind, after: id })) {
            found.push(`${kind} ${id}`)
          }
        }
        return found.join(", ")
      }))
      yield* Effect.scoped(Effect.gen(function*() {
        yield* firewall
        assert.strictEqual(yield* idsOf, "Btf 1, Map 1, Map 2, Map 3, Map 4, Map 5, Prog 1")
      })).pipe(Effect.provideService(Kernel, kernel))
      assert.strictEqual(yield* idsOf, "")
    }))
})

describe("by types", () => {
  it.effect("keys and values are given and shown as what they are", () =>
    onSimulated(Effect.fnUntraced(function*(objects) {
      yield* firewall
      const json = (key: string, value?: string): MapVerbs.GivenJson => ({
        ...MapVerbs.noJson,
        key: Option.some(key),
        value: Option.fromUndefinedOr(value)
      })
      yield* MapVerbs.update(objects, w("name stats"), json("PROTOCOL_TCP", "{\"packets\": 18446744073709551615}"))
      const { key, shape, value } = yield* MapVerbs.lookup(objects, w("name stats"), json("PROTOCOL_TCP"))
      const document = jsonText(elementJson(shape, { key, value: value ?? assert.fail("no value") }), false)
      assert.include(
        document,
        "\"formatted\":{\"key\":\"PROTOCOL_TCP\",\"value\":{\"packets\":18446744073709551615,\"bytes\":0}}"
      )
      assert.match(
        yield* said(MapVerbs.update(objects, w("name stats"), json("NOTHING", "{}"))),
        /UsageError: --key: .*NOTHING/
      )
      assert.match(
        yield* said(MapVerbs.update(objects, w("name stats"), json("PROTOCOL_TCP", "{\"packets\": -1}"))),
        /UsageError: --value: .*packets: -1 does not fit/
      )
      yield* create(objects, "/sys/fs/bpf/m type hash key 2 value 4 entries 4 name plain")
      assert.match(
        yield* said(MapVerbs.lookup(objects, w("name plain"), json("1"))),
        /--key: the map has no types, so that its key can be given as bytes only\nhint: as in key 0x00 0x00/
      )
    })))

  it.effect("sections are lists of their variables", () =>
    onSimulated(Effect.fnUntraced(function*(objects) {
      yield* firewall
      const { elements, shape } = yield* MapVerbs.dump(objects, w("name xdp_fire.rodata"))
      assert.deepInclude(elementJson(shape, elements[0] ?? assert.fail("no element")), {
        formatted: {
          value: { ".rodata": [{ blocked_ports: [23, 0, 0, 0] }, { sample_every: 0 }, { drop_malformed: true }] }
        }
      })
    })))
})

describe("prog", () => {
  it.effect("show, dump xlated, run", () =>
    onSimulated(Effect.fnUntraced(function*(objects) {
      yield* firewall
      const { progs: [prog] } = yield* ProgVerbs.show(objects, w("name xdp_firewall"))
      const shown = progJson(prog ?? assert.fail("no program"), 100)
      assert.include(shown, { id: 1, type: "xdp", name: "xdp_firewall", loaded_at: 101, uid: 0, jited: false })
      assert.deepStrictEqual((yield* ProgVerbs.show(objects, ["tag", prog?.info.tag ?? ""])).progs.length, 1)
      assert.match(render(progsText([prog ?? assert.fail()], 100, new Map()), plain), /1970-01-01T00:01:41Z/)

      const wanted = yield* Effect.fromResult(ProgVerbs.dumpOf(w("xlated id 1 linum opcodes")))
      const symbols = () => ({ callBase: undefined, names: new Map<bigint, string>() })
      const { listing } = yield* ProgVerbs.dump(objects, wanted, { named: true, symbols })
      const text = render(xlatedText(listing, wanted), plain)
      assert.match(text, /^int xdp_firewall\(struct xdp_md \* ctx\):$/m)
      assert.match(
        text,
        /^; .*bpf_map_lookup_elem\(&stats, &protocol\); \[file:\.\/xdp_firewall\.bpf\.c line_num:\d+ line_col:\d+\]$/m
      )
      assert.match(text, /^ {2}\d+: \(18\) r1 = map\[id:\d+ stats\]$/m)
      assert.match(text, /call bpf_map_lookup_elem#1$/m)
      const documents = xlatedJson(listing, wanted)
      assert.deepInclude(Array.isArray(documents) ? documents[0] : undefined, {
        proto: "int xdp_firewall(struct xdp_md * ctx)",
        line_num: 236,
        disasm: "(b7) r7 = 0"
      })

      const run = yield* Effect.fromResult(ProgVerbs.runOf(w("id 1 data_in x")))
      const ran = yield* ProgVerbs.run(objects, run, { data: new Uint8Array(64), context: undefined })
      assert.strictEqual(ran.result.retval, 2)
      assert.match(
        yield* said(ProgVerbs.run(objects, run, { data: undefined, context: undefined })),
        /data_in: xdp_firewall runs on a packet/
      )
    })))

  it("names of addresses: the first of several, and none where they are hidden", () => {
    const table = (text: string) => new TextEncoder().encode(text)
    const shown = table(
      "ffffffff81000000 T __bpf_call_base\nffffffff81000010 t helper\nffffffff81000010 t alias\n" +
        "ffffffffc0000000 t bpf_prog_1_x\t[bpf]\nshort\n"
    )
    const { callBase, names } = search(shown, [16, -1], [0xffff_ffff_c000_0000n])
    assert.strictEqual(callBase, 0xffff_ffff_8100_0000n)
    assert.deepStrictEqual([...names], [
      [0xffff_ffff_8100_0010n, "helper"],
      [0xffff_ffff_c000_0000n, "bpf_prog_1_x"]
    ])
    const hidden = search(table("0000000000000000 T __bpf_call_base\n0000000000000000 t x\n"), [16], [0n])
    assert.isUndefined(hidden.callBase)
    assert.strictEqual(hidden.names.size, 0)
    assert.strictEqual(search(new Uint8Array(), [1], [1n]).names.size, 0)
  })
})

describe("numbers of JSON", () => {
  it("keep every digit", () => {
    assert.strictEqual(
      jsonText([exact(1n), exact(18446744073709551615n), exact(-9223372036854775808n)], false),
      "[1,18446744073709551615,-9223372036854775808]\n"
    )
  })
})
