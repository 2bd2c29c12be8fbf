/**
 * Offsets of functions before their judges: GNU readelf says which functions a binary has and where, libbpf 1.5 which one a
 * name is for.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as FileSource from "../../src/attach/FileSource.ts"
import * as Binary from "../../src/services/Elf/ElfBinary.ts"
import * as C from "../../src/services/Elf/ElfConstants.ts"
import * as FunctionOffsets from "../../src/services/Elf/FunctionOffset.ts"
import * as Libbpf from "../support/Libbpf.ts"
import * as Judge from "../support/Offsets.ts"
import { describeWith, run, temporaryFolder } from "../support/Require.ts"

const libc = "/lib/x86_64-linux-gnu/libc.so.6"
const libstdcxx = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6"

const done = (tool: string, args: ReadonlyArray<string>, input?: string): void => {
  const { status, stderr } = run(tool, args, input === undefined ? {} : { input })
  assert.strictEqual(status, 0, `${tool} ${args.join(" ")}: ${stderr}`)
}

const versionScript = "V1 { global: twice; once; gone; local: *; }; V2 { global: twice; weakly; } V1;"

/** Two sources of a library with all that makes names doubtful: versions, namesakes, aliases, weak and indirect functions. */
const sources: ReadonlyArray<string> = [
  `
__attribute__((used)) static int hidden_twice(int x) { return x + 1; }
__attribute__((used)) static int in_one(int x) { return x * 3; }
__asm__(".symver old_twice, twice@V1");
__asm__(".symver new_twice, twice@@V2");
int old_twice(int x) { return hidden_twice(x) + x; }
int new_twice(int x) { return 2 * x; }
int once(int x) { return x; }
int once_more(int x) __attribute__((alias("once")));
__attribute__((weak)) int weakly(int x) { return x - 1; }
static int (*choose(void))(int) { return once; }
int chosen(int x) __attribute__((ifunc("choose")));
extern int imported(int x);
int calls(int x) { return imported(x); }
int data = 5;
`,
  `
__attribute__((used)) static int hidden_twice(int x) { return x + 2; }
int other(int x) { return hidden_twice(x); }
int chosen_not(int x) { return x; }
`
]

/** That library in one file: with all symbols, or stripped of them, or of section headers. */
const library = (flags: ReadonlyArray<string> = []): string => {
  const folder = temporaryFolder()
  const script = Path.join(folder, "versions")
  Fs.writeFileSync(script, versionScript)
  const files = sources.map((text, index) => {
    const path = Path.join(folder, `part${index}.c`)
    Fs.writeFileSync(path, text)
    return path
  })
  const path = Path.join(folder, "library.so")
  done("cc", [
    "-O1",
    "-fno-inline",
    "-shared",
    "-fPIC",
    `-Wl,--version-script=${script}`,
    ...flags,
    ...files,
    "-o",
    path
  ])
  return path
}

describeWith({ kind: "oracle", tools: ["readelf"], files: [libc, libstdcxx] }, "functions of libraries", () => {
  for (const path of [libc, libstdcxx]) {
    it(`has the functions of ${Path.basename(path)} that readelf shows`, () => {
      assert.isAbove(Judge.assertSameFunctions(path), 1000)
    })

    it(`chooses among those of ${Path.basename(path)} by precedence`, () => {
      const answers = Judge.assertPrecedence(path)
      assert.isAbove([...answers.values()].filter((answer) => /^\d+$/.test(answer)).length, 1000)
    })
  }

  it("meets versions, indirect functions and imports there", () => {
    const answers = Judge.assertPrecedence(libc)
    const kinds = new Set([...answers.values()].map((answer) => answer.replace(/^\d+$/, "offset")))
    assert.deepStrictEqual([...kinds].sort(), ["Ambiguous", "Indirect", "none", "offset"])
    assert.strictEqual(answers.get("pthread_cond_wait"), "Ambiguous")
    assert.match(answers.get("pthread_cond_wait@GLIBC_2.2.5") ?? "", /^\d+$/)
    assert.notStrictEqual(answers.get("pthread_cond_wait@GLIBC_2.3.2"), answers.get("pthread_cond_wait@GLIBC_2.2.5"))
  })

  it("says which library has what libc uses of another", () => {
    const answer = FunctionOffsets.find(new Uint8Array(Fs.readFileSync(libc)), "__tls_get_addr")
    assert.isTrue(Result.isFailure(answer))
    const failure = Result.isFailure(answer) ? answer.failure : new Error("found")
    assert.strictEqual(Reflect.get(failure, "reason"), "Undefined")
    assert.strictEqual(Reflect.get(failure, "library"), "ld-linux-x86-64.so.2")
  })

  it("named fault: a weak function before a strong one is another answer", () => {
    const all = Judge.byName([
      {
        table: "dynsym",
        name: "f",
        version: undefined,
        isDefault: false,
        binding: "weak",
        isIndirect: false,
        offset: 8n
      },
      {
        table: "dynsym",
        name: "f",
        version: undefined,
        isDefault: false,
        binding: "global",
        isIndirect: false,
        offset: 16n
      }
    ])
    assert.strictEqual(Judge.expectedOf(all, "f", undefined), "16")
  })
})

describeWith({ kind: "oracle", files: [process.execPath] }, "what is read of a binary", () => {
  /** The sections that a search is for, and how many bytes were read of the file for it. */
  const bytesReadFor = (name: string) => {
    let read = 0
    const answer = FileSource.ask(process.execPath, (file) => {
      const source = {
        size: file.size,
        read: (offset: number, length: number) => {
          read += length
          return file.read(offset, length)
        }
      }
      const headers = Result.getOrThrow(Binary.open(source))
      const sizeOf = (...types: ReadonlyArray<number>) =>
        headers.sections.filter(({ type }) => types.includes(type)).reduce((sum, section) => {
          const linked = headers.sections[section.link]
          return sum + Number(section.size) + (linked?.type === C.SHT_STRTAB ? Number(linked.size) : 0)
        }, 0)
      const found = FunctionOffsets.find(headers, name)
      return Result.succeed({
        isFound: Result.isSuccess(found),
        dynamic: sizeOf(C.SHT_DYNSYM, C.SHT_GNU_versym, C.SHT_GNU_verdef, C.SHT_GNU_verneed),
        local: sizeOf(C.SHT_SYMTAB),
        size: file.size
      })
    })
    return { ...Result.getOrThrow(answer), read }
  }

  it("is its headers and symbol tables, and the local ones only if they are needed", () => {
    const headers = 100_000
    const main = bytesReadFor("main")
    assert.isTrue(main.isFound)
    assert.isAbove(main.size, 50_000_000)
    assert.isAtMost(main.read, main.dynamic + headers)
    const nowhere = bytesReadFor("nowhere_in_node")
    assert.isFalse(nowhere.isFound)
    assert.isAbove(nowhere.read, main.read)
    assert.isAtMost(nowhere.read, nowhere.dynamic + nowhere.local + headers)
  })
})

describeWith(
  { kind: "oracle", tools: ["readelf", "cc", "objcopy", "llvm-strip"] },
  "functions of programs of ours",
  () => {
    it("has and chooses what readelf shows of versions, namesakes, aliases, weak and indirect functions", () => {
      const path = library()
      Judge.assertSameFunctions(path)
      const answers = Judge.assertPrecedence(path)
      assert.strictEqual(answers.get("twice"), "Ambiguous")
      assert.strictEqual(answers.get("hidden_twice"), "Ambiguous")
      assert.strictEqual(answers.get("chosen"), "Indirect")
      const imported = FunctionOffsets.find(new Uint8Array(Fs.readFileSync(path)), "imported")
      assert.strictEqual(Result.isFailure(imported) && Reflect.get(imported.failure, "reason"), "Undefined")
      assert.strictEqual(answers.get("once"), answers.get("once_more"))
      assert.match(answers.get("in_one") ?? "", /^\d+$/)
    })

    for (const [what, flags] of [["PIE", ["-pie", "-fPIE"]], ["not PIE", ["-no-pie", "-fno-pie"]]] as const) {
      it(`has and chooses what readelf shows of an executable, ${what}`, () => {
        const path = Path.join(temporaryFolder(), "program")
        done(
          "cc",
          ["-O1", ...flags, "-x", "c", "-", "-o", path],
          "static int f(int x) { return x; }\nint main(int n) { return f(n); }"
        )
        Judge.assertSameFunctions(path)
        assert.match(Judge.assertPrecedence(path).get("main") ?? "", /^\d+$/)
      })
    }

    it("finds the same dynamic symbols without section headers, by either hash table", () => {
      for (const style of ["gnu", "sysv", "both"]) {
        const path = library([`-Wl,--hash-style=${style}`, "-s"])
        const bytes = new Uint8Array(Fs.readFileSync(path))
        const expected = Result.getOrThrow(FunctionOffsets.definitions(bytes)).map(Judge.lineOf)
        assert.isAbove(expected.length, 3)
        // As sstrip does: no section headers, and the header says so.
        const stripped = bytes.slice()
        stripped.fill(0, 40, 48)
        stripped.fill(0, 58, 64)
        assert.deepStrictEqual(Result.getOrThrow(FunctionOffsets.definitions(stripped)).map(Judge.lineOf), expected)
        const twice = Result.getOrThrow(FunctionOffsets.find(stripped, "twice@V1"))
        assert.strictEqual(twice.offset, Result.getOrThrow(FunctionOffsets.find(bytes, "twice@V1")).offset)
      }
    })

    it("finds them in a file that llvm-strip took the section headers from", () => {
      const path = library()
      const stripped = `${path}.stripped`
      done("llvm-strip", ["--strip-sections", path, "-o", stripped])
      const bytes = new Uint8Array(Fs.readFileSync(stripped))
      const found = Result.getOrThrow(FunctionOffsets.definitions(bytes)).map(({ name, version }) =>
        `${name}@${version}`
      )
      assert.includeMembers(found, ["twice@V1", "twice@V2", "once@V1", "weakly@V2"])
      const { offset } = Result.getOrThrow(FunctionOffsets.find(bytes, "once"))
      const whole = new Uint8Array(Fs.readFileSync(path))
      const original = Result.getOrThrow(FunctionOffsets.find(whole, "once"))
      const code = (file: Uint8Array, at: bigint) => file.subarray(Number(at), Number(at) + Number(original.size))
      assert.deepStrictEqual(code(bytes, offset), code(whole, original.offset))
    })

    it("says that a file of debug information has no code", () => {
      const path = library()
      const debug = `${path}.debug`
      done("objcopy", ["--only-keep-debug", path, debug])
      const answer = FunctionOffsets.find(new Uint8Array(Fs.readFileSync(debug)), "in_one")
      assert.isTrue(Result.isFailure(answer))
      assert.include(Result.isFailure(answer) ? answer.failure.message : "", "not in this file")
    })
  }
)

describeWith({ kind: "oracle", tools: ["readelf", "clang"] }, "functions of other machines", () => {
  const source = "int data = 3; static __attribute__((used,noinline)) int f(int x) { return x + data; }\n" +
    "int g(int x) { return f(x); }\n__attribute__((weak)) int h(int x) { return x; }\n"
  const targets = [
    "i386-linux-gnu",
    "armv7-linux-gnueabihf",
    "thumbv7-linux-gnueabihf",
    "armebv7-linux-gnueabi",
    "mips-linux-gnu",
    "mipsel-linux-gnu",
    "powerpc-linux-gnu",
    "aarch64-linux-gnu",
    "aarch64_be-linux-gnu",
    "s390x-linux-gnu",
    "riscv64-linux-gnu",
    "riscv32-linux-gnu"
  ]
  for (const target of targets) {
    it(`has what readelf shows: ${target}`, () => {
      const path = Path.join(temporaryFolder(), "part.o")
      done("clang", ["-target", target, "-O1", "-ffunction-sections", "-c", "-x", "c", "-", "-o", path], source)
      const judged = Judge.judgedFunctions(path).map((each) => ({
        ...each,
        // Of Thumb code the lowest bit of the value is a mark.
        offset: target.startsWith("thumb") && each.offset !== undefined ? each.offset & ~1n : each.offset
      }))
      const found = Result.getOrThrow(FunctionOffsets.definitions(new Uint8Array(Fs.readFileSync(path))))
      assert.deepStrictEqual(found.map(Judge.lineOf), judged.map(Judge.lineOf))
      assert.deepStrictEqual(found.map(({ name }) => name).sort(), ["f", "g", "h"])
    })
  }
})

describeWith({ kind: "oracle", ...Libbpf.needs("1.5") }, "functions beside libbpf", () => {
  it("chooses for every name of libc, with and without versions, what libbpf chooses", () => {
    const names = [...Judge.byName(Judge.judgedFunctions(libc)).values()].flatMap((all) => {
      const [first] = all
      return first === undefined
        ? []
        : [first.name, ...all.flatMap(({ name, version }) => version === undefined ? [] : [`${name}@${version}`])]
    })
    const theirs = Judge.libbpfFinds(libc, names)
    const answers = Result.getOrThrow(
      FunctionOffsets.findEach(new Uint8Array(Fs.readFileSync(libc)), names)
    )
    const errors: Readonly<Record<string, bigint>> = {
      Ambiguous: -4001n,
      Indirect: -2n,
      Undefined: -2n,
      Version: -2n,
      NotFound: -2n,
      NotAFunction: -2n
    }
    const ours = answers.map((answer) =>
      Result.isSuccess(answer) ? answer.success.offset : errors[answer.failure.reason] ?? 0n
    )
    assert.deepStrictEqual(
      ours.map((offset, at) => `${names[at]} ${offset}`),
      theirs.map((offset, at) => `${names[at]} ${offset}`)
    )
    assert.isTrue(theirs.includes(-4001n))
  })

  it("finds for patterns what libbpf finds", () => {
    const bytes = new Uint8Array(Fs.readFileSync(libc))
    for (const pattern of ["pthread_*", "*alloc*", "m?lloc", "*_r", "get*name*"]) {
      const ours = Result.getOrThrow(FunctionOffsets.matching(bytes, pattern)).map(({ offset }) => offset)
      // An undefined symbol that matches is at 0 for libbpf.
      assert.deepStrictEqual(ours, Judge.libbpfMatches(libc, pattern).filter((offset) => offset !== 0n), pattern)
      assert.isAbove(ours.length, 0)
    }
  })
})
