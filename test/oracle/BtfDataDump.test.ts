/**
 * The typed data dump beside libbpf's: on types of the running kernel and on generated ones, with random, sparse and
 * extreme bytes, wherever none of libbpf's faults can show. Each fault has an example in which it does.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import { dump } from "../../src/btf/BtfDataDump.ts"
import { wellFormed } from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { askDataPeer } from "../support/BtfDataPeer.ts"
import type { DataAnswer, DataRequest } from "../support/BtfDataPeer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { describeWith, runs, temporaryFolder } from "../support/Require.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

/** A small generator of its own: bytes by the hundred thousand are too many for fast-check. */
const generator = (seed: number): () => number => {
  let state = seed
  return () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return (state >>> 8) / 2 ** 24
  }
}

/** Bytes of a kind: any, few that are not zero, all ones or zeros, zeros, text. */
const someBytes = (random: () => number, length: number): Uint8Array => {
  const kind = Math.floor(random() * 5)
  return Uint8Array.from({ length }, () => {
    switch (kind) {
      case 0:
        return random() * 256
      case 1:
        return random() < 0.1 ? random() * 256 : 0
      case 2:
        return random() < 0.5 ? 0xff : 0
      case 3:
        return 0
      default:
        return random() < 0.1 ? 0 : 0x20 + random() * 0x60
    }
  })
}

/** Requests for types of a blob that have a size of at most 8 KiB and that `wanted` picks. */
const requestsFor = (
  btf: Btf.Btf,
  seed: number,
  share: number,
  fixed: Partial<DataRequest> = {},
  wanted: (id: number) => boolean = () => true
): ReadonlyArray<DataRequest> => {
  const random = generator(seed)
  const requests: Array<DataRequest> = []
  for (let id = 1; id < btf.endId; id++) {
    if (random() > share) continue
    const size = Btf.resolveSize(btf, id)
    if (Result.isFailure(size) || size.success > 8192 || !wanted(id)) continue
    requests.push({
      typeId: id,
      bytes: someBytes(random, size.success),
      compact: random() < 0.3,
      skipNames: random() < 0.3,
      emitZeroes: random() < 0.4,
      level: Btf.kindOf(btf, id) === Btf.BTF_KIND_VAR || Btf.kindOf(btf, id) === Btf.BTF_KIND_DATASEC
        ? 0
        : Math.floor(random() * 3),
      indent: random() < 0.2 ? "  " : "\t",
      ...fixed
    })
  }
  return requests
}

const latin1 = (text: string): string => Buffer.from(text).toString("latin1")

/** One request, our answer and libbpf's, for a message. */
const differences = (
  btf: Btf.Btf,
  requests: ReadonlyArray<DataRequest>,
  answers: ReadonlyArray<DataAnswer>,
  normalise: (text: string) => string
): ReadonlyArray<string> =>
  requests.flatMap((request, index) => {
    const ours = B.expectSuccess(dump(btf, request.typeId, request.bytes, request))
    const theirs = normalise(answers[index]?.text ?? "")
    const text = normalise(latin1(ours.text))
    if (text === theirs) return []
    let at = 0
    while (text[at] === theirs[at]) at++
    const part = (whole: string) => whole.slice(Math.max(0, at - 80), at + 80)
    const bytes = Buffer.from(request.bytes).toString("hex")
    return [`${JSON.stringify({ ...request, bytes })}\nours   ${part(text)}\nlibbpf ${part(theirs)}`]
  })

/** One dumper answers all requests, and counts names over all of them. */
const withoutNumbers = (text: string): string => text.replaceAll(/___\d+/g, "")

const parse = (bytes: Uint8Array): Btf.Btf => B.expectSuccess(Btf.parse(bytes))

/** Whether a type or one in it is an array of elements without bytes, which libbpf refuses in the middle of its text. */
const hasArrayOfNothing = (btf: Btf.Btf, id: number, depth = 0): boolean => {
  const resolved = Btf.resolveType(btf, id)
  const type = Btf.typeOf(btf, resolved)
  if (depth > 20) return true
  switch (type._tag) {
    case "Array": {
      const size = Btf.resolveSize(btf, type.type)
      return Result.isFailure(size) || size.success === 0 || hasArrayOfNothing(btf, type.type, depth + 1)
    }
    case "Struct":
    case "Union":
      return type.members.some((member) => hasArrayOfNothing(btf, member.type, depth + 1))
    case "Datasec":
      return type.entries.some((entry) => hasArrayOfNothing(btf, entry.type, depth + 1))
    default:
      return type._tag === "DeclTag"
  }
}

/** Arrays that libbpf prints as characters. */
const isChars = (btf: Btf.Btf, type: Btf.BtfType): boolean => {
  if (type._tag !== "Array") return false
  const element = Btf.typeOf(btf, Btf.resolveType(btf, type.type))
  return element._tag === "Int" && element.size === 1
}

const isComposite = (btf: Btf.Btf, id: number): boolean => {
  const { _tag } = Btf.typeOf(btf, Btf.resolveType(btf, id))
  return _tag === "Struct" || _tag === "Union"
}

const isEnum = (type: Btf.BtfType): type is Btf.EnumType | Btf.Enum64Type =>
  type._tag === "Enum" || type._tag === "Enum64"

/** Whether something holds for a member of a struct or union in a type. */
const someMember = (btf: Btf.Btf, id: number, holds: (member: Btf.Member, type: Btf.BtfType) => boolean): boolean =>
  some(btf, id, (type) =>
    (type._tag === "Struct" || type._tag === "Union") &&
    type.members.some((member) => holds(member, Btf.typeOf(btf, Btf.resolveType(btf, member.type)))))

interface Fault {
  readonly fault: string
  /** Whether it may show in the text of this request, whatever the bytes are. */
  readonly shows: (btf: Btf.Btf, request: DataRequest) => boolean
  /** A type of the showcase, bytes, and the right text. */
  readonly example: readonly [typeId: number, bytes: ReadonlyArray<number>, text: string]
}

/** The faults of libbpf 1.5 in its typed data dump, as `BtfDataDump` lists them. */
const faults: ReadonlyArray<Fault> = [
  {
    fault: "zero is asked of the first member alone",
    shows: (btf, { emitZeroes, typeId }) =>
      emitZeroes !== true && some(btf, typeId, (type) => isComposite(btf, type.id)) &&
      (someMember(btf, typeId, (member) => isComposite(btf, member.type)) ||
        some(btf, typeId, (type) => type._tag === "Array" || type._tag === "Datasec")),
    example: [
      9,
      [0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0],
      "(struct first){.in = (struct inner){.b = (int)5,},.z = (int)1,}"
    ]
  },
  {
    fault: "an array of characters never ends being one, and after a NUL nothing is shown",
    shows: (btf, { typeId }) =>
      some(btf, typeId, (type) => isChars(btf, type)) &&
      !isChars(btf, Btf.typeOf(btf, Btf.resolveType(btf, typeId))),
    example: [
      10,
      [65, 66, 0, 0, 67, 68],
      "(struct chars){.s = (unsigned char[4])['A','B',],.x = (unsigned char)67,.y = (unsigned char)68,}"
    ]
  },
  {
    fault: "names of values above 2^31 are not found",
    shows: (btf, { typeId }) =>
      some(
        btf,
        typeId,
        (type) => type._tag === "Enum" && !type.signed && type.values.some(({ value }) => value > 0x7fff_ffff)
      ),
    example: [5, [0, 0, 0, 0x80], "(enum high)TOP"]
  },
  {
    fault: "bit fields of enums have no sign, and are zero when their whole bytes are",
    shows: (btf, { typeId }) => someMember(btf, typeId, (member, type) => member.bitfieldSize > 0 && isEnum(type)),
    example: [11, [3, 0, 0, 0], "(struct bits){.a = (enum low)MINUS,}"]
  },
  {
    fault: "enums at odd addresses are shifted by 64 bits",
    shows: (btf, { typeId }) =>
      // Eight bytes are the largest enum's: a member at a multiple of them has the enums in it where they were.
      someMember(btf, typeId, (member, type) =>
        member.bitOffset % (isEnum(type) ? 8 * type.size : 64) !== 0 && some(btf, member.type, isEnum)) ||
      some(btf, typeId, (type) =>
        type._tag === "Array" && some(btf, type.type, isEnum)),
    example: [12, [1, 0xff, 0xff, 0xff, 0xff], "(struct packed){.c = (unsigned char)1,.e = (enum low)MINUS,}"]
  },
  {
    fault: "no separator follows a signed number without a name",
    shows: (btf, { typeId }) => some(btf, typeId, (type) => isEnum(type) && type.signed),
    example: [13, [7, 0, 0, 0, 1, 0, 0, 0], "(struct unnamed){.e = (enum low)7,.z = (int)1,}"]
  },
  {
    fault: "an eight-byte ENUM shows four bytes of a value without a name",
    shows: (btf, { typeId }) => some(btf, typeId, (type) => type._tag === "Enum" && type.size === 8),
    example: [15, [7, 0, 0, 0, 1, 0, 0, 0], "(enum wide)4294967303"]
  },
  {
    fault: "a NUL is left out and the characters after it are not",
    shows: (btf, { emitZeroes, typeId }) => emitZeroes !== true && some(btf, typeId, (type) => isChars(btf, type)),
    example: [3, [65, 0, 66, 0], "(unsigned char[4])['A',]"]
  }
]

const showcase: ReadonlyArray<B.Rec> = [
  B.int("int", 4, 1), // 1
  B.int("unsigned char", 1), // 2
  B.array(2, 1, 4), // 3
  B.struct("inner", 8, [["a", 1, 0], ["b", 1, 32]]), // 4
  B.enumeration("high", 4, false, [["TOP", 0x8000_0000]]), // 5
  B.enumeration("low", 4, true, [["MINUS", -1]]), // 6
  B.enum64("deep", 8, true, [["ONE", 1n]]), // 7
  B.ptr(0), // 8
  B.struct("first", 12, [["in", 4, 0], ["z", 1, 64]]), // 9
  B.struct("chars", 6, [["s", 3, 0], ["x", 2, 32], ["y", 2, 40]]), // 10
  B.struct("bits", 4, [["a", 6, 0, 2], ["b", 1, 2, 30]]), // 11
  B.struct("packed", 5, [["c", 2, 0], ["e", 6, 8]]), // 12
  B.struct("unnamed", 8, [["e", 6, 0], ["z", 1, 32]]), // 13
  B.struct("unnamed64", 16, [["e", 7, 0], ["z", 1, 64]]), // 14
  B.enumeration("wide", 8, false, [["ONE", 1]]) // 15
]

/** Requests in which no fault can show. */
const withoutFaults = (btf: Btf.Btf, requests: ReadonlyArray<DataRequest>): ReadonlyArray<DataRequest> =>
  requests.filter((request) => !faults.some(({ shows }) => shows(btf, request)))

/** What printf makes of a null pointer. */
const withoutNil = (text: string): string => text.replaceAll("(nil)", "0x0")

describeWith(
  { kind: "oracle", ...Libbpf.needs("1.5") },
  "typed data dump against libbpf 1.5",
  () => {
    const judge = (): string => Libbpf.program("btf_data", "1.5")

    if (Fs.existsSync(vmlinux)) {
      it("is the same text for types of the running kernel", () => {
        const btf = parse(new Uint8Array(Fs.readFileSync(vmlinux)))
        const all = requestsFor(btf, 1, 0.2, {}, (id) => !hasArrayOfNothing(btf, id))
        const requests = withoutFaults(btf, all)
        assert.isAbove(requests.length, 5000)
        const answers = askDataPeer(judge(), vmlinux, requests)
        const normalise = (text: string) => withoutNil(withoutNumbers(text))
        assert.deepEqual(differences(btf, requests, answers, normalise).slice(0, 3), [])
        assert.isTrue(answers.every((answer) => answer.returned >= 0))
      })

      it("breaks off where libbpf does, and says where", () => {
        const btf = parse(new Uint8Array(Fs.readFileSync(vmlinux)))
        const random = generator(5)
        const plain = (id: number): boolean => {
          const type = Btf.typeOf(btf, Btf.resolveType(btf, id))
          if (type._tag !== "Struct" && type._tag !== "Union") return type._tag === "Int"
          return type.members.every((member) => Btf.typeOf(btf, Btf.resolveType(btf, member.type))._tag !== "Array")
            && type.members.every((member) => plain(member.type) || Btf.kindOf(btf, member.type) === Btf.BTF_KIND_PTR)
        }
        const requests = requestsFor(btf, 3, 0.15, { emitZeroes: true }, plain).flatMap((request) => {
          const bytes = request.bytes.subarray(0, Math.floor(random() * (request.bytes.length + 1)))
          return Btf.kindOf(btf, request.typeId) === Btf.BTF_KIND_STRUCT ? [{ ...request, bytes }] : []
        })
        assert.isAbove(requests.length, 100)
        const answers = askDataPeer(judge(), vmlinux, requests)
        const normalise = (text: string) => withoutNil(withoutNumbers(text))
        assert.deepEqual(differences(btf, requests, answers, normalise).slice(0, 3), [])
        for (const [index, request] of requests.entries()) {
          const { error } = B.expectSuccess(dump(btf, request.typeId, request.bytes, request))
          // E2BIG.
          assert.strictEqual(error?.reason, answers[index]?.returned === -7 ? "TooShort" : undefined)
        }
      })
    }

    it("is the same text for generated types, names numbered", () => {
      const file = Path.join(temporaryFolder(), "btf")
      let compared = 0
      fc.assert(
        fc.property(wellFormed(), fc.nat(), (blob, seed) => {
          const btf = parse(blob.bytes)
          // The judge refuses types of the other byte order with a long header. It takes bytes for its own order anyway.
          Fs.writeFileSync(file, B.blob(blob.types))
          const requests = withoutFaults(btf, requestsFor(btf, seed, 1, { fresh: true }, (id) => isJudged(btf, id)))
          compared += requests.length
          const ours = requests.map((request) => ({ ...request, byteOrder: "little" as const }))
          const answers = askDataPeer(judge(), file, requests)
          assert.deepEqual(differences(btf, ours, answers, withoutNil).slice(0, 1), [])
        }),
        { numRuns: runs(30) }
      )
      assert.isAbove(compared, runs(30))
    })

    it("differs from libbpf's where one of its faults shows, and is right", () => {
      const file = Path.join(temporaryFolder(), "btf")
      Fs.writeFileSync(file, B.blob(showcase))
      const btf = parse(B.blob(showcase))
      const requests = faults.map(({ example: [typeId, bytes] }) => ({
        typeId,
        bytes: Uint8Array.from(bytes),
        compact: true,
        fresh: true
      }))
      const answers = askDataPeer(judge(), file, requests)
      for (const [index, request] of requests.entries()) {
        const { example, fault, shows } = faults[index] ?? assert.fail()
        const ours = B.expectSuccess(dump(btf, request.typeId, request.bytes, request)).text
        assert.strictEqual(ours, example[2], fault)
        assert.notStrictEqual(withoutNil(answers[index]?.text ?? ""), ours, fault)
        assert.isTrue(shows(btf, request), fault)
      }
    })
  }
)

/** Types that libbpf knows how to show. */
const isJudged = (btf: Btf.Btf, id: number): boolean =>
  !hasArrayOfNothing(btf, id) && !some(btf, id, (type) =>
    // 80 and 16 bits: libbpf knows no half precision, and tells nothing of a bit field in a 16-byte integer.
    (type._tag === "Float" && type.size !== 4 && type.size !== 8)
    || (type._tag === "Struct" || type._tag === "Union")
      && type.members.some((member) => member.bitfieldSize > 0 && outgrows(btf, member)))

/** A bit field that libbpf reads too little for. */
const outgrows = (btf: Btf.Btf, member: Btf.Member): boolean =>
  member.bitOffset % 8 + member.bitfieldSize > 8 * B.expectSuccess(Btf.resolveSize(btf, member.type))

/** Whether something holds for a type or one in it. */
const some = (btf: Btf.Btf, id: number, holds: (type: Btf.BtfType) => boolean): boolean => {
  const type = Btf.typeOf(btf, Btf.resolveType(btf, id))
  if (holds(type)) return true
  switch (type._tag) {
    case "Array":
      return some(btf, type.type, holds)
    case "Struct":
    case "Union":
      return type.members.some((member) => some(btf, member.type, holds))
    case "Datasec":
      return type.entries.some((entry) => some(btf, entry.type, holds))
    default:
      return false
  }
}

describeWith(
  { kind: "oracle", ...Libbpf.needs("system"), files: [vmlinux] },
  "typed data dump against Debian's libbpf as it is",
  () => {
    it("is the same text where the faults do not show", () => {
      const btf = parse(new Uint8Array(Fs.readFileSync(vmlinux)))
      // No one-byte integers, which it takes for characters, no enums, and no bit fields: it takes those of the last bytes
      // for cut off. With all zeroes.
      const requests = requestsFor(
        btf,
        2,
        0.06,
        { emitZeroes: true },
        (id) =>
          !hasArrayOfNothing(btf, id) &&
          !some(btf, id, (type) =>
            (type._tag === "Int" && type.size === 1) || type._tag === "Enum" || type._tag === "Enum64"
            || (type._tag === "Struct" || type._tag === "Union")
              && type.members.some((member) =>
                member.bitfieldSize > 0
              ))
      )
      assert.isAbove(requests.length, 1000)
      const answers = askDataPeer(Libbpf.program("btf_data", "system"), vmlinux, requests)
      const normalise = (text: string) => withoutNumbers(text).replaceAll("(nil)", "0x0").replaceAll(")()", ")(void)")
      assert.deepEqual(differences(btf, requests, answers, normalise).slice(0, 3), [])
    })
  }
)

describe("the comparison", () => {
  it("named fault: one member's value is another", () => {
    const btf = B.btfOf([B.int("int", 4, 1), B.struct("s", 8, [["a", 1, 0], ["b", 1, 32]])])
    const bytes = Uint8Array.of(1, 0, 0, 0, 2, 0, 0, 0)
    const [difference] = differences(
      btf,
      [{ typeId: 2, bytes, compact: true }],
      [{ returned: 8, text: "(struct s){.a = (int)1,.b = (int)1,}" }],
      withoutNumbers
    )
    assert.include(difference, ".b = (int)2")
  })
})
