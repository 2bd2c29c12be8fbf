import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfExt from "../../src/btf/BtfExt.ts"
import * as BtfValue from "../../src/btf/BtfValue.ts"
import { allFixtures, describeWith, fixture, run, temporaryFolder } from "../support/Require.ts"
import { elfSection, expectSuccess } from "../support/arbitrary/BtfBlob.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"

const targets = [["bpf", "little"], ["bpfeb", "big"]] as const

/** Compiles C for a target; answers the object's path. */
const compile = (source: string, target: string): string => {
  const folder = temporaryFolder()
  Fs.writeFileSync(Path.join(folder, "source.c"), source)
  const done = run("clang", ["-target", target, "-g", "-O2", "-Wno-everything", "-c", "source.c", "-o", "object.o"], {
    cwd: folder
  })
  assert.strictEqual(done.status, 0, done.stderr)
  return Path.join(folder, "object.o")
}

const read = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

/** What bpftool says of every type, by id. Values are texts: numbers would lose their low bits. */
const bpftoolTypes = (args: ReadonlyArray<string>): ReadonlyArray<Readonly<Record<string, unknown>>> => {
  const done = run("bpftool", [...args, "--json"])
  assert.strictEqual(done.status, 0, done.stdout + done.stderr)
  const { types } = JSON.parse(done.stdout.replaceAll(/"val":(-?\d+)/g, "\"val\":\"$1\""))
  return types
}

const named = (name: string): string => name === "" ? "(anon)" : name

const encodings: Readonly<Record<number, string>> = { 0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL" }

const linkages = ["static", "global", "extern"]

/** A type as bpftool writes it in JSON. */
const asBpftool = (btf: Btf.Btf, id: number): Readonly<Record<string, unknown>> => {
  const type = Btf.typeOf(btf, id)
  if (type._tag === "Void" || type._tag === "Unknown") throw new Error(`type ${id} is of kind ${type._tag}`)
  const common = { id, kind: Btf.kindName(Btf.kindOf(btf, id)), name: named(type.name) }
  switch (type._tag) {
    case "Int": {
      const { bitOffset, bits, encoding, size } = type
      return { ...common, size, bits_offset: bitOffset, nr_bits: bits, encoding: encodings[encoding] ?? "UNKN" }
    }
    case "Array":
      return { ...common, type_id: type.type, index_type_id: type.indexType, nr_elems: type.length }
    case "Struct":
    case "Union": {
      const members = type.members.map((member) => ({
        name: named(member.name),
        type_id: member.type,
        bits_offset: member.bitOffset,
        ...(member.bitfieldSize === 0 ? {} : { bitfield_size: member.bitfieldSize })
      }))
      return { ...common, size: type.size, vlen: members.length, members }
    }
    case "Enum": {
      // bpftool extends the sign of large unsigned values to 64 bits.
      const text = (value: number) => type.signed ? `${value}` : `${BigInt.asUintN(64, BigInt(value | 0))}`
      return enumeration(common, type, type.values.map(({ name, value }) => ({ name, val: text(value) })))
    }
    case "Enum64":
      return enumeration(common, type, type.values.map(({ name, value }) => ({ name, val: `${value}` })))
    case "Fwd":
      return { ...common, fwd_kind: type.forward }
    case "Func":
      return { ...common, type_id: type.type, linkage: linkages[type.linkage] }
    case "FuncProto": {
      const params = type.params.map((param) => ({ name: named(param.name), type_id: param.type }))
      return { ...common, ret_type_id: type.returnType, vlen: params.length, params }
    }
    case "Var":
      return { ...common, type_id: type.type, linkage: linkages[type.linkage] }
    case "Datasec": {
      const vars = type.entries.map((entry) => ({ type_id: entry.type, offset: entry.offset, size: entry.size }))
      return { ...common, size: type.size, vlen: vars.length, vars }
    }
    case "Float":
      return { ...common, size: type.size }
    case "DeclTag":
      return { ...common, type_id: type.type, component_idx: type.componentIndex }
    default:
      return { ...common, type_id: type.type }
  }
}

const enumeration = (
  common: object,
  type: { readonly signed: boolean; readonly size: number },
  values: ReadonlyArray<{ readonly name: string; readonly val: string }>
) => ({ ...common, encoding: type.signed ? "SIGNED" : "UNSIGNED", size: type.size, vlen: values.length, values })

/** Every own type of the blob must be what bpftool says, in the same order. */
const agrees = (btf: Btf.Btf, judge: ReadonlyArray<Readonly<Record<string, unknown>>>): void => {
  assert.strictEqual(btf.endId - btf.firstId, judge.length)
  for (const [index, type] of judge.entries()) {
    const ours = JSON.stringify(asBpftool(btf, btf.firstId + index))
    // Compared as text first: a deep comparison of a hundred thousand objects takes minutes.
    if (ours !== JSON.stringify(type)) assert.deepEqual(JSON.parse(ours), type)
  }
}

const allKinds = `
typedef unsigned int u32;
enum small { MINUS = -1, PLUS = 1 };
enum large { BIG = 0x100000000ULL, TOP = 0xffffffffffffffffULL };
enum negative { LOW = -0x8000000000000000LL, HIGH = 1 };
enum unsigned_values { MOST = 0xfffffffe };
struct declared;
union either { int i; float f; double d; char c[8]; __int128 wide; };
struct __attribute__((btf_decl_tag("whole"))) all {
  int a : 3;
  unsigned b : 29;
  _Bool flag : 1;
  struct declared *d;
  union declared_union *du;
  struct all *restrict next;
  const volatile u32 v;
  struct { short x; struct { char y; }; };
  int (*callback)(struct all *, u32 n);
  int table[3][4] __attribute__((btf_decl_tag("member")));
  char flexible[];
};
struct all *pointer;
int __attribute__((btf_type_tag("user"))) *tagged;
union either either;
enum small small; enum large large; enum negative negative; enum unsigned_values unsigned_values;
static volatile const int hidden = 3;
extern int outside __attribute__((section(".ksyms")));
extern int called(int) __attribute__((section(".ksyms")));
__attribute__((noinline)) static int callee(struct all *one) { return one->a + hidden; }
__attribute__((section("xdp"))) int entry(struct all *one) { return callee(one) + called(outside); }
`

describeWith({ kind: "oracle", tools: ["clang", "bpftool"] }, "BTF types against bpftool", () => {
  for (const [target, order] of targets) {
    it(`of all kinds, compiled for ${target}`, () => {
      const path = compile(allKinds, target)
      const btf = expectSuccess(Btf.parse(elfSection(read(path), ".BTF")))
      assert.strictEqual(btf.byteOrder, order)
      agrees(btf, bpftoolTypes(["btf", "dump", "file", path]))
      const kinds = new Set(Array.from({ length: btf.endId - 1 }, (_, index) => Btf.kindOf(btf, index + 1)))
      for (let kind = 1; kind < Btf.NR_BTF_KINDS; kind++) assert.isTrue(kinds.has(kind), `no ${Btf.kindName(kind)}`)
    })
  }

  it("of split BTF", () => {
    const folder = temporaryFolder()
    const base = elfSection(read(compile(allKinds, "bpf")), ".BTF")
    const baseBtf = expectSuccess(Btf.parse(base))
    const id = Btf.findOne(baseBtf, "all", Btf.BTF_KIND_STRUCT) ?? 0
    const split = B.blob([B.ptr(id), B.struct("own", 8, [["p", baseBtf.endId, 0]]), {
      ...B.typedef("", id),
      nameOffset: 1
    }], {
      stringsStart: baseBtf.stringsLength
    })
    Fs.writeFileSync(Path.join(folder, "base"), base)
    Fs.writeFileSync(Path.join(folder, "split"), split)
    const args = ["-B", Path.join(folder, "base"), "btf", "dump", "file", Path.join(folder, "split")]
    agrees(expectSuccess(Btf.parse(split, { base: baseBtf })), bpftoolTypes(args))
  })

  it("of every kind written by hand, in both byte orders", () => {
    for (const order of ["little", "big"] as const) {
      const path = Path.join(temporaryFolder(), "raw")
      const bytes = B.blob(B.everyKind, { order })
      Fs.writeFileSync(path, bytes)
      agrees(expectSuccess(Btf.parse(bytes)), bpftoolTypes(["btf", "dump", "file", path]))
    }
  })

  it("of the fixtures", () => {
    let compared = 0
    for (const name of allFixtures()) {
      const path = Path.join(import.meta.dirname, "../fixtures", name)
      let section: Uint8Array
      try {
        section = elfSection(fixture(name), ".BTF")
      } catch {
        continue
      }
      agrees(expectSuccess(Btf.parse(section)), bpftoolTypes(["btf", "dump", "file", path]))
      compared++
    }
    assert.isAbove(compared, 10)
  })

  it("named fault: a bit offset that keeps the size of the bit field", () => {
    const path = compile(allKinds, "bpf")
    const judge = bpftoolTypes(["btf", "dump", "file", path])
    const section = elfSection(read(path), ".BTF")
    const btf = expectSuccess(Btf.parse(section))
    const struct = Btf.findOne(btf, "all", Btf.BTF_KIND_STRUCT) ?? 0
    const info = (btf.offsets[struct - 1] ?? 0) + 7
    // Without the flag the whole word is the offset.
    section[info] = (section[info] ?? 0) & 0x7f
    assert.throws(() => agrees(btf, judge))
  })
})

const vmlinux = "/sys/kernel/btf/vmlinux"

describeWith({ kind: "oracle", tools: ["bpftool"], files: [vmlinux] }, "the kernel's BTF against bpftool", () => {
  const btf = expectSuccess(Btf.parse(read(vmlinux)))

  it("every type", () => {
    agrees(btf, bpftoolTypes(["btf", "dump", "file", vmlinux]))
  })

  it("every struct is found by its name, is as large as its members, and is aligned", () => {
    let structs = 0
    for (let id = 1; id < btf.endId; id++) {
      const type = Btf.typeOf(btf, id)
      if (type._tag !== "Struct" || type.name === "") continue
      structs++
      const found = Btf.find(btf, type.name, Btf.BTF_KIND_STRUCT)
      assert.isTrue(found._tag === "One" ? found.id === id : found._tag === "Ambiguous" && found.ids.includes(id))
      assert.strictEqual(Btf.typeName(btf, id), `struct ${type.name}`)
      assert.strictEqual(type.size % expectSuccess(Btf.alignOf(btf, id)), 0)
      for (const member of type.members) {
        const size = expectSuccess(Btf.resolveSize(btf, member.type))
        const bits = member.bitfieldSize === 0 ? size * 8 : member.bitfieldSize
        assert.isAtMost(member.bitOffset + bits, type.size * 8, `${type.name}.${member.name}`)
      }
    }
    assert.isAbove(structs, 1000)
  })
})

describeWith({ kind: "oracle", tools: ["clang"] }, "sizes, alignments and values against clang", () => {
  const declarations = [
    ["char", "t_char"],
    ["long", "t_long"],
    ["struct { char a; long b; }", "t_padded"],
    ["struct __attribute__((packed)) { char a; long b; }", "t_packed"],
    ["struct { int a : 3; int b : 29; short c; }", "t_bits"],
    ["union { char a[7]; int b; }", "t_union"],
    ["struct { struct { int x; } in[3]; char tail; }", "t_nested"],
    ["int (*[5])(void)", ""],
    ["enum { A1, B1 }", "t_enum"],
    ["struct { }", "t_empty"],
    ["struct { char c; _Bool flag; double d; }", "t_float"],
    ["const volatile short", "t_qualified"]
  ].filter(([, name]) => name !== "")

  for (const [target, order] of targets) {
    it(`sizes and alignments, ${target}`, () => {
      const names = declarations.map(([, name]) => name ?? "")
      const source = [
        ...declarations.map(([type, name]) => `typedef ${type} ${name};`),
        ...names.map((name) => `${name} *use_${name};`),
        `unsigned long facts[] __attribute__((section(".data.facts"))) = {`,
        names.map((name) => `sizeof(${name}), _Alignof(${name})`).join(",\n"),
        "};"
      ].join("\n")
      const object = read(compile(source, target))
      const btf = expectSuccess(Btf.parse(elfSection(object, ".BTF"), { pointerSize: 8 }))
      const facts = Btf.findOne(btf, "facts", Btf.BTF_KIND_VAR) ?? 0
      const expected = expectSuccess(BtfValue.decode(btf, facts, elfSection(object, ".data.facts"), order))
      const ours = names.flatMap((name) => {
        const id = Btf.findOne(btf, name, Btf.BTF_KIND_TYPEDEF) ?? 0
        return [BigInt(expectSuccess(Btf.resolveSize(btf, id))), BigInt(expectSuccess(Btf.alignOf(btf, id)))]
      })
      assert.deepEqual(ours, expected)
    })

    it(`values, ${target}`, () => {
      const source = `
        #define IN(name) __attribute__((section(".data." #name)))
        enum mode { DROP = -1, PASS = 2 };
        enum wide { HUGE = 0x123456789abcdefULL };
        struct bits { unsigned a : 3; int b : 7; unsigned long c : 40; _Bool d : 1; enum mode e : 3; unsigned char f : 2; };
        struct event {
          unsigned char octets[3]; short s; int i; unsigned u; long l; unsigned long ul; char name[8];
          _Bool on; enum mode mode; enum wide wide; void *pointer;
          union { struct { int x, y; }; long both; };
          struct bits bits; int matrix[2][2]; float f; double d; unsigned __int128 wider;
        };
        IN(event) struct event event = {
          { 1, 2, 255 }, -2, -70000, 4000000000u, -5, 0xfedcba9876543210ul, "eth0", 1, DROP, HUGE, (void *)0xffff888000001234ul,
          { .both = 0x0102030405060708 }, { 5, -60, 0x9876543210, 1, -1, 3 }, { { 1, -2 }, { 3, 4 } }, 1.5f, -2.25,
          ((unsigned __int128)0x1122334455667788 << 64) | 0x99aabbccddeeff00
        };
        IN(bits) struct bits bits[2] = { { 7, 63, 1, 0, 2, 1 }, { 1, -64, 0xffffffffff, 1, 3, 2 } };
        IN(text) char text[2][6] = { "ab", "sixchr" };
      `
      const object = read(compile(source, target))
      const btf = expectSuccess(Btf.parse(elfSection(object, ".BTF")))
      const expected = {
        event: {
          octets: [1, 2, 255],
          s: -2,
          i: -70000,
          u: 4_000_000_000,
          l: -5n,
          ul: 0xfedc_ba98_7654_3210n,
          name: "eth0",
          on: true,
          mode: "DROP",
          wide: "HUGE",
          pointer: 0xffff_8880_0000_1234n,
          x: order === "little" ? 0x05060708 : 0x01020304,
          y: order === "little" ? 0x01020304 : 0x05060708,
          both: 0x0102030405060708n,
          bits: { a: 5, b: -60, c: 0x98_7654_3210n, d: true, e: "DROP", f: 3 },
          matrix: [[1, -2], [3, 4]],
          f: 1.5,
          d: -2.25,
          wider: 0x1122_3344_5566_7788_99aa_bbcc_ddee_ff00n
        },
        bits: [
          { a: 7, b: 63, c: 1n, d: false, e: "PASS", f: 1 },
          { a: 1, b: -64, c: 0xff_ffff_ffffn, d: true, e: 3, f: 2 }
        ],
        text: ["ab", "sixchr"]
      }
      for (const [name, value] of Object.entries(expected)) {
        const id = Btf.findOne(btf, name, Btf.BTF_KIND_VAR) ?? 0
        const bytes = elfSection(object, `.data.${name}`)
        assert.deepEqual(expectSuccess(BtfValue.decode(btf, id, bytes)), value)
        assert.deepEqual(expectSuccess(BtfValue.encode(btf, id, value)), bytes)
      }
    })
  }
})

describeWith(
  { kind: "oracle", tools: ["clang", "llvm-objdump", "llvm-strip"] },
  ".BTF.ext against llvm-objdump",
  () => {
    const source = `
struct inner { int b; };
struct event { int a; struct inner c; char d[4]; } __attribute__((preserve_access_index));
struct event *pointer;
__attribute__((section("xdp"))) int first(void *context) {
  struct event *event = pointer;
  return event->c.b +
    event->d[2];
}
__attribute__((section("tp/x"))) int second(void *context) {
  return __builtin_preserve_field_info(pointer->d, 2) + __builtin_preserve_type_info(*(struct event *)0, 1) +
    pointer->a;
}
`
    for (const [target] of targets) {
      it(`CO-RE relocations, functions and lines, ${target}`, () => {
        const path = compile(source, target)
        const object = read(path)
        const btf = expectSuccess(Btf.parse(elfSection(object, ".BTF")))
        const ext = expectSuccess(BtfExt.parse(elfSection(object, ".BTF.ext"), btf))

        const relocations = run("llvm-objdump", ["-d", "-r", path]).stdout
        const judged: Array<string> = []
        let section = ""
        for (const line of relocations.split("\n")) {
          section = /^Disassembly of section (.*):$/.exec(line)?.[1] ?? section
          const found = /^\s*([0-9a-f]{16}):\s+CO-RE <(\w+)> \[(\d+)\] .*?(?:\(([\d:]+)\))?$/.exec(line)
          if (found !== null) {
            judged.push(
              [section, parseInt(found[1] ?? "", 16), found[2], found[3], found[4] ?? "0"].join(" ")
            )
          }
        }
        const kinds: Readonly<Record<number, string>> = { 0: "byte_off", 2: "field_exists", 9: "type_size" }
        const ours = (ext.coreRelocations?.sections ?? []).flatMap((block) =>
          Array.from({ length: block.count }, (_, index) => {
            const { accessString, insnOffset, kind, typeId } = BtfExt.coreRelocationAt(ext, block, index)
            return [block.section, insnOffset, kinds[kind], typeId, accessString].join(" ")
          })
        )
        assert.isAtLeast(judged.length, 4)
        assert.deepEqual(ours, judged)

        const functions = (ext.funcInfo?.sections ?? []).flatMap((block) =>
          Array.from({ length: block.count }, (_, index) => {
            const { insnOffset, typeId } = BtfExt.funcInfoAt(ext, block, index)
            return [block.section, insnOffset, Btf.nameOf(btf, typeId)].join(" ")
          })
        )
        assert.sameMembers(functions, ["tp/x 0 second", "xdp 0 first"])

        // Without DWARF the disassembler takes its lines from BTF.
        run("llvm-strip", ["-g", path])
        const listed: Array<string> = []
        let lineNumber = ""
        for (const line of run("llvm-objdump", ["-d", "-l", path]).stdout.split("\n")) {
          section = /^Disassembly of section (.*):$/.exec(line)?.[1] ?? section
          const place = /^; .*source\.c:(\d+)$/.exec(line)
          if (place !== null) lineNumber = place[1] ?? ""
          const insn = /^\s+(\d+):\t/.exec(line)
          if (insn !== null && lineNumber !== "") {
            listed.push(`${section} ${Number(insn[1]) * 8} ${lineNumber}`)
            lineNumber = ""
          }
        }
        const text = source.split("\n")
        const lines: Array<string> = []
        for (const block of ext.lineInfo?.sections ?? []) {
          let previous = -1
          for (let index = 0; index < block.count; index++) {
            const info = BtfExt.lineInfoAt(ext, block, index)
            assert.match(info.fileName, /source\.c$/)
            if (info.lineNumber === 0) continue
            assert.strictEqual(info.line, text[info.lineNumber - 1])
            assert.isAtMost(info.column, info.line.length)
            // The disassembler prints a line only where it changes.
            if (info.lineNumber !== previous) lines.push(`${block.section} ${info.insnOffset} ${info.lineNumber}`)
            previous = info.lineNumber
          }
        }
        assert.isAtLeast(listed.length, 4)
        assert.sameMembers(lines, listed)
      })
    }
  }
)

describe("bpftool as a judge", () => {
  it("is given the same text for a type that has every field", () => {
    const btf = B.btfOf(B.everyKind)
    assert.deepEqual(asBpftool(btf, 13), {
      id: 13,
      kind: "FUNC_PROTO",
      name: "(anon)",
      ret_type_id: 1,
      vlen: 2,
      params: [{ name: "event", type_id: 2 }, { name: "(anon)", type_id: 0 }]
    })
  })
})
