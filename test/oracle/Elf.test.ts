/**
 * The ELF room before its judges: llvm-readelf reports the same fields of clang's objects as `parse`, and GNU readelf
 * and llvm-readelf accept what `write` makes.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Elf from "../../src/services/Elf/Elf.ts"
import { describeWith, run, temporaryFolder, toolPath } from "../support/Require.ts"

const source = `
typedef unsigned long long u64;
struct point { u64 x, y; };
struct point origin = { 1, 2 };
const volatile u64 limit = 7;
u64 zeroed[5];
static u64 hits __attribute__((section(".data.hits")));
extern u64 outside;
extern u64 perhaps __attribute__((weak));
u64 external(u64 x);
__attribute__((visibility("hidden"))) u64 concealed = 3;
static __attribute__((noinline)) u64 helper(u64 x) { hits += x; return x * limit + zeroed[x & 3]; }
__attribute__((weak)) u64 replaceable(struct point *p) { return helper(p->x) + outside; }
__attribute__((section("xdp"))) u64 entry(struct point *p) {
  return replaceable(p) + external(concealed) + (u64)&perhaps;
}
__attribute__((section("xdp"))) u64 entry2(struct point *p) { return helper(p->y) + origin.y; }
char LICENSE[] __attribute__((section("license"))) = "GPL";
`

/** Assembler source with more sections than 16 bits can number, some with a symbol and a byte. */
const manySections = (count: number): string =>
  Array.from({ length: count }, (_, index) =>
    `.section s${index},"a",@progbits\n` +
    (index % 97 === 0 || index > count - 50 ? `v${index}:\n.byte ${index & 0xff}\n` : "")).join("")

const read = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

const parsed = (bytes: Uint8Array): Elf.ElfFile => Result.getOrThrow(Elf.parse(bytes))

const done = (tool: string, args: ReadonlyArray<string>, input?: string): string => {
  const { status, stderr, stdout } = run(tool, args, input === undefined ? {} : { input })
  assert.strictEqual(status, 0, `${tool} ${args.join(" ")}: ${stderr}`)
  assert.strictEqual(stderr, "", `${tool} ${args.join(" ")}`)
  return stdout
}

const compile = (target: string, flags: ReadonlyArray<string> = ["-g"]): string => {
  const path = Path.join(temporaryFolder(), `${target}.o`)
  done("clang", ["-target", target, "-O2", ...flags, "-c", "-x", "c", "-", "-o", path], source)
  return path
}

const assemble = (target: string, count: number): string => {
  const path = Path.join(temporaryFolder(), "many.o")
  done("clang", ["-target", target, "-c", "-x", "assembler", "-", "-o", path], manySections(count))
  return path
}

const rewritten = (path: string): string => {
  const image = Result.getOrThrow(Elf.toImage(parsed(read(path))))
  const target = Path.join(temporaryFolder(), "written.o")
  Fs.writeFileSync(target, Result.getOrThrow(Elf.write(image)))
  return target
}

// ---- what llvm-readelf says, and the same of our model ----

interface Named {
  readonly Name: string
  readonly Value: number
}
interface SectionReport {
  readonly Index: number
  readonly Name: Named
  readonly Type: { readonly Value: number }
  readonly Flags: { readonly Value: number }
  readonly Address: number
  readonly Offset: number
  readonly Size: number
  readonly Link: number
  readonly Info: number
  readonly AddressAlignment: number
  readonly EntrySize: number
}
interface SymbolReport {
  readonly Name: Named
  readonly Value: number
  readonly Size: number
  readonly Binding: { readonly Value: number }
  readonly Type: { readonly Value: number }
  readonly Other: { readonly Value: number }
  readonly Section: { readonly Value: number }
}
interface RelocationReport {
  readonly Offset: number
  readonly Type: { readonly Value: number }
  readonly Symbol: Named
  /** A string where JSON's number would be rounded: llvm-readelf shows negative addends as unsigned. */
  readonly Addend?: number | string
}
interface SegmentReport {
  readonly Type: { readonly Value: number }
  readonly Offset: number
  readonly VirtualAddress: number
  readonly PhysicalAddress: number
  readonly FileSize: number
  readonly MemSize: number
  readonly Flags: { readonly Value: number }
  readonly Alignment: number
}
interface Report {
  readonly ElfHeader: {
    readonly Ident: {
      readonly DataEncoding: { readonly Value: number }
      readonly "OS/ABI": { readonly Value: number }
      readonly ABIVersion: number
    }
    readonly Type: string
    readonly Machine: { readonly Value: number }
    readonly Version: number
    readonly Entry: number
    readonly ProgramHeaderOffset: number
    readonly SectionHeaderOffset: number
    readonly Flags: { readonly Value: number }
    readonly ProgramHeaderCount: string | number
    readonly SectionHeaderCount: string
    readonly StringTableSectionIndex: string
  }
  readonly Sections: ReadonlyArray<{ readonly Section: SectionReport }>
  readonly Symbols: ReadonlyArray<{ readonly Symbol: SymbolReport }>
  readonly DynamicSymbols?: ReadonlyArray<{ readonly Symbol: SymbolReport }>
  readonly Relocations: ReadonlyArray<{
    readonly SectionIndex: number
    readonly Relocs: ReadonlyArray<{ readonly Relocation: RelocationReport }>
  }>
  readonly ProgramHeaders?: ReadonlyArray<{ readonly ProgramHeader: SegmentReport }>
}

/** What llvm-readelf says of a file; integers that a double would round become strings. */
const reportOf = (path: string, flags: ReadonlyArray<string>): Report => {
  const text = done("llvm-readelf", ["--elf-output-style=JSON", ...flags, path])
  const reports: ReadonlyArray<Report> = JSON.parse(text.replaceAll(/:\s*(\d{16,})(?=[,}])/g, ":\"$1\""))
  const [report] = reports
  assert.isDefined(report)
  return report
}

/** `N`, or `0 (N)` where numbering is extended. */
const count = (text: string | number): number => Number(/\((\d+)\)/.exec(String(text))?.[1] ?? text)

const headerOf = ({ ElfHeader: header }: Report): Elf.ElfHeader => ({
  byteOrder: header.Ident.DataEncoding.Value === 1 ? "little" : "big",
  osAbi: header.Ident["OS/ABI"].Value,
  abiVersion: header.Ident.ABIVersion,
  type: Number(/\((0x[0-9a-fA-F]+)\)/.exec(header.Type)?.[1]),
  machine: header.Machine.Value,
  version: header.Version,
  entry: BigInt(header.Entry),
  flags: header.Flags.Value,
  programHeaderOffset: BigInt(header.ProgramHeaderOffset),
  programHeaderCount: count(header.ProgramHeaderCount),
  sectionHeaderOffset: BigInt(header.SectionHeaderOffset),
  sectionHeaderCount: count(header.SectionHeaderCount),
  sectionNamesIndex: count(header.StringTableSectionIndex)
})

const sectionsOf = ({ Sections }: Report): ReadonlyArray<Omit<Elf.ElfSection, "data">> =>
  Sections.map(({ Section }) => ({
    index: Section.Index,
    name: Section.Name.Name,
    type: Section.Type.Value,
    flags: BigInt(Section.Flags.Value),
    address: BigInt(Section.Address),
    offset: Section.Offset,
    size: Section.Size,
    link: Section.Link,
    info: Section.Info,
    alignment: BigInt(Section.AddressAlignment),
    entrySize: Section.EntrySize
  }))

/** llvm-readelf shows a section symbol under the name of its section. */
const shownName = (file: Elf.ElfFile, { name, sectionIndex, type }: Elf.ElfSymbol): string =>
  type === Elf.STT_SECTION && name === "" ? file.sections[sectionIndex]?.name ?? "" : name

const symbolRows = (symbols: ReadonlyArray<{ readonly Symbol: SymbolReport }>) =>
  symbols.map(({ Symbol: symbol }, index) => ({
    index,
    name: symbol.Name.Name,
    value: BigInt(symbol.Value),
    size: BigInt(symbol.Size),
    binding: symbol.Binding.Value,
    type: symbol.Type.Value,
    visibilityAndOther: symbol.Other.Value,
    sectionIndex: symbol.Section.Value
  }))

const ourSymbolRows = (file: Elf.ElfFile, table: Elf.SymbolTable) =>
  Array.from({ length: table.count }, (_, index) => {
    const symbol = Elf.symbolAt(table, index)
    return {
      index,
      name: shownName(file, symbol),
      value: symbol.value,
      size: symbol.size,
      binding: symbol.binding,
      type: symbol.type,
      visibilityAndOther: symbol.visibility | symbol.other,
      sectionIndex: symbol.sectionIndex
    }
  })

const relocationRows = ({ Relocations }: Report) =>
  Relocations.flatMap(({ Relocs, SectionIndex }) =>
    Relocs.map(({ Relocation: { Addend, Offset, Symbol, Type } }) => ({
      section: SectionIndex,
      offset: BigInt(Offset),
      type: Type.Value,
      symbol: Symbol.Value,
      addend: BigInt.asIntN(64, BigInt(Addend ?? 0))
    }))
  )

const ourRelocationRows = (file: Elf.ElfFile) =>
  file.sections.flatMap((section) => {
    if (section.type !== Elf.SHT_REL && section.type !== Elf.SHT_RELA) return []
    const table = Result.getOrThrow(Elf.relocations(file, section))
    return Array.from({ length: table.count }, (_, place) => {
      const { index: _index, ...entry } = Elf.relocationAt(table, place)
      return { section: section.index, ...entry }
    })
  })

const withoutData = (section: Elf.ElfSection): Omit<Elf.ElfSection, "data"> => {
  const { data: _, ...fields } = section
  return fields
}

/** Our parse and llvm-readelf agree on every field of header, sections, symbols and relocations. */
const assertAgreement = (path: string): Elf.ElfFile => {
  const file = parsed(read(path))
  const report = reportOf(path, ["-h", "-S", "-s", "-r"])
  assert.deepEqual(file.header, headerOf(report))
  assert.deepEqual(file.sections.map(withoutData), sectionsOf(report))
  assert.isDefined(file.symbols)
  assert.deepEqual(ourSymbolRows(file, file.symbols), symbolRows(report.Symbols))
  assert.deepEqual(ourRelocationRows(file), relocationRows(report))
  return file
}

/** GNU readelf finds nothing to warn of, its lint included (which complains of empty sections, as clang makes them). */
const assertAccepted = (path: string): void => {
  const { status, stderr, stdout } = run("readelf", ["-W", "-L", "-h", "-S", "-s", "-r", "-g", path])
  assert.strictEqual(status, 0)
  const complaints = `${stdout}${stderr}`.split("\n").filter((line) => /warning|error|corrupt|invalid/i.test(line))
  assert.deepEqual(complaints.filter((line) => !/has a size of zero/.test(line)), [])
  const dump = run("llvm-readelf", ["-h", "-S", "-s", "-r", path])
  assert.strictEqual(dump.stderr, "")
}

/** Names, contents and references of two files are equal; string tables and file offsets may differ. */
const assertSame = (left: Elf.ElfFile, right: Elf.ElfFile): void => {
  assert.deepEqual(Result.getOrThrow(Elf.toImage(left)), Result.getOrThrow(Elf.toImage(right)))
}

const targets: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
  ["bpf", ["-g"]],
  ["bpfeb", ["-g"]],
  ["bpf", []],
  // Addends, COMDAT groups and COMMON symbols.
  ["x86_64-linux-gnu", ["-g", "-fcommon", "-ffunction-sections"]],
  ["s390x-linux-gnu", ["-fcommon"]]
]

describeWith({ kind: "oracle", tools: ["clang", "llvm-readelf", "readelf"] }, "ELF", () => {
  for (const [target, flags] of targets) {
    const what = `${target} ${flags.join(" ")}`.trim()

    it(`reads what llvm-readelf reads: ${what}`, () => {
      const file = assertAgreement(compile(target, flags))
      assert.isAbove(file.symbols?.count ?? 0, 8)
    })

    it(`writes what readelf accepts and llvm-readelf reads alike: ${what}`, () => {
      const path = compile(target, flags)
      const written = rewritten(path)
      assertAccepted(written)
      assertSame(assertAgreement(written), parsed(read(path)))
    })
  }

  it("would notice symbols read in the wrong byte order", () => {
    const path = compile("bpfeb")
    const file = parsed(read(path))
    assert.isDefined(file.symbols)
    const theirs = symbolRows(reportOf(path, ["-s"]).Symbols)
    assert.deepEqual(ourSymbolRows(file, file.symbols), theirs)
    assert.notDeepEqual(ourSymbolRows(file, { ...file.symbols, littleEndian: true }), theirs)
  })

  it("reads extended section numbering that clang wrote", () => {
    const path = assemble("bpf", 65_400)
    const file = parsed(read(path))
    const report = reportOf(path, ["-h", "-s"])
    assert.deepEqual(file.header, headerOf(report))
    assert.isAbove(file.header.sectionHeaderCount, Elf.SHN_LORESERVE)
    assert.isDefined(file.symbols)
    assert.deepEqual(ourSymbolRows(file, file.symbols), symbolRows(report.Symbols))
    assert.isTrue(file.sections.some(({ type }) => type === Elf.SHT_SYMTAB_SHNDX))
  })

  it("writes extended section numbering that both readelfs read", () => {
    for (const target of ["bpf", "bpfeb"]) {
      const written = rewritten(assemble(target, 65_400))
      const file = parsed(read(written))
      assert.isDefined(file.symbols)
      const report = reportOf(written, ["-h", "-s"])
      assert.deepEqual(headerOf(report), file.header)
      assert.deepEqual(symbolRows(report.Symbols), ourSymbolRows(file, file.symbols))
      const gnu = run("readelf", ["-W", "-h", "-s", written])
      assert.strictEqual(gnu.stderr, "")
      assert.match(gnu.stdout, /Number of section headers: +0 \(65\d+\)/)
      assert.match(gnu.stdout, / 654\d\d v65399$/m)
    }
  })

  it("reads segments and dynamic symbols of an executable", () => {
    const path = toolPath("readelf") ?? ""
    const file = parsed(read(path))
    const report = reportOf(path, ["-h", "-l", "-S", "--dyn-syms"])
    assert.deepEqual(file.header, headerOf(report))
    assert.deepEqual(file.sections.map(withoutData), sectionsOf(report))
    const segments = report.ProgramHeaders?.flatMap((entry) => "ProgramHeader" in entry ? [entry.ProgramHeader] : [])
    assert.isAbove(segments?.length ?? 0, 3)
    assert.deepEqual(
      Array.from({ length: file.header.programHeaderCount }, (_, index) => Elf.programHeaderAt(file, index)),
      segments?.map((segment, index) => ({
        index,
        type: segment.Type.Value,
        flags: segment.Flags.Value,
        offset: BigInt(segment.Offset),
        virtualAddress: BigInt(segment.VirtualAddress),
        physicalAddress: BigInt(segment.PhysicalAddress),
        fileSize: BigInt(segment.FileSize),
        memorySize: BigInt(segment.MemSize),
        alignment: BigInt(segment.Alignment)
      }))
    )
    const dynsym = file.sections.find(({ type }) => type === Elf.SHT_DYNSYM)
    assert.isDefined(dynsym)
    const table = Result.getOrThrow(Elf.symbolTable(file, dynsym.index))
    // llvm-readelf appends the version to a dynamic symbol's name; the string table does not have it.
    const theirs = symbolRows(report.DynamicSymbols ?? []).map((row) => ({ ...row, name: row.name.replace(/@.*/, "") }))
    assert.deepEqual(ourSymbolRows(file, table), theirs)
  })
})

describeWith({ kind: "oracle", tools: ["clang", "bpftool", "readelf", "llvm-readelf"] }, "ELF of bpftool", () => {
  it("reads a linked object, whose sh_info is 0, and writes it with locals first", () => {
    const linked = Path.join(temporaryFolder(), "linked.o")
    const library = Path.join(temporaryFolder(), "library.o")
    const code = "unsigned long long outside, perhaps; static int n; int external(int x) { return n += x; }"
    done("clang", ["-target", "bpf", "-g", "-O2", "-c", "-x", "c", "-", "-o", library], code)
    const alone = run("bpftool", ["gen", "object", linked, library])
    assert.strictEqual(alone.status, 0, alone.stderr)
    const file = assertAgreement(linked)
    assert.strictEqual(file.sections[file.symbols?.section ?? 0]?.info, 0)
    const written = rewritten(linked)
    assertAccepted(written)
    assert.isAbove(assertAgreement(written).sections.find(({ type }) => type === Elf.SHT_SYMTAB)?.info ?? 0, 1)
  })
})
