/**
 * Values beside compilers: a C program of random types fills variables with random bytes and prints every member as C
 * reads it, and the bytes themselves. Its BTF is pahole's, made of what the compiler says of its own layout. Decoding the
 * bytes gives what was printed, and encoding what was decoded gives the bytes of the members back.
 */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfValue from "../../src/btf/BtfValue.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { describeWith, run, temporaryFolder } from "../support/Require.ts"

/** How a member without parts is printed. */
type Kind = "signed" | "unsigned" | "wide" | "float" | "bool"

/** A member without parts, by the way to it: names and indices, as in C. */
interface Leaf {
  readonly path: ReadonlyArray<string | number>
  readonly kind: Kind
}

/** C text of a type's members, and what lies in it. */
interface Body {
  readonly text: string
  readonly leaves: ReadonlyArray<Leaf>
}

const scalars: ReadonlyArray<readonly [name: string, kind: Kind, bits: number]> = [
  ["char", "signed", 8],
  ["unsigned char", "unsigned", 8],
  ["short", "signed", 16],
  ["unsigned short", "unsigned", 16],
  ["int", "signed", 32],
  ["unsigned int", "unsigned", 32],
  ["long", "signed", 64],
  ["unsigned long", "unsigned", 64],
  ["enum plain", "unsigned", 32],
  ["enum negative", "signed", 32]
]

const maker = (seed: number) => {
  let state = seed
  const below = (limit: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor(((state >>> 8) / 2 ** 24) * limit)
  }
  let names = 0
  const scalar = (): (typeof scalars)[number] => scalars[below(scalars.length)] ?? ["int", "signed", 32]

  /** One member, and the leaves of it; `union` where bytes have to be any. */
  const member = (depth: number, union: boolean): Body => {
    const name = `m${names++}`
    const choice = below(depth > 0 ? 12 : 8)
    if (choice < 3) {
      const [type, kind] = scalar()
      return { text: `${type} ${name};`, leaves: [{ path: [name], kind }] }
    }
    if (choice < 5) {
      const [type, kind, bits] = scalar()
      // Narrower ones need not hold a whole enum.
      return { text: `${type} ${name} : ${1 + below(bits)};`, leaves: [{ path: [name], kind }] }
    }
    if (choice === 5) {
      const others: ReadonlyArray<readonly [string, Kind]> = [
        ["__int128", "wide"],
        ["unsigned __int128", "wide"],
        ["void *", "unsigned"],
        ["double", "float"],
        ["float", "float"],
        ...(union ? [] : [["_Bool", "bool"] as const])
      ]
      const [type, kind] = others[below(others.length)] ?? ["int", "signed"]
      return { text: `${type} ${name};`, leaves: [{ path: [name], kind }] }
    }
    if (choice < 8) {
      const [type, kind] = scalar()
      // Of one dimension: pahole makes one of several.
      const length = 1 + below(6)
      const leaves = Array.from({ length }, (_, at): Leaf => ({ path: [name, at], kind }))
      return { text: `${type} ${name}[${length}];`, leaves }
    }
    const isUnion = below(3) === 0
    const inner = members(depth - 1, union || isUnion)
    const packed = below(4) === 0 ? " __attribute__((packed))" : ""
    const text = `${isUnion ? "union" : "struct"} { ${inner.text} }${packed}`
    if (choice < 10) return { text: `${text};`, leaves: inner.leaves }
    const count = choice === 10 ? 0 : 1 + below(2)
    return {
      text: `${text} ${name}${count === 0 ? "" : `[${count}]`};`,
      leaves: Array.from({ length: Math.max(1, count) }, (_, at) => count === 0 ? [name] : [name, at]).flatMap((
        before
      ) => inner.leaves.map(({ kind, path }): Leaf => ({ kind, path: [...before, ...path] })))
    }
  }
  const members = (depth: number, union: boolean): Body => {
    const bodies = Array.from({ length: 1 + below(5) }, () => member(depth, union))
    return { text: bodies.map(({ text }) => text).join(" "), leaves: bodies.flatMap(({ leaves }) => leaves) }
  }
  return { below, members }
}

const expression = (path: Leaf["path"]): string =>
  path.map((part) => typeof part === "number" ? `[${part}]` : `.${part}`).join("")

/** A program of `count` types; each line that it prints is a type, a way and a value. */
const program = (seed: number, count: number) => {
  const { below, members } = maker(seed)
  const types = Array.from({ length: count }, (_, index) => {
    const union = below(5) === 0
    return { name: `t${index}`, union, packed: below(4) === 0, body: members(3, union) }
  })
  const print: Readonly<Record<Kind, (of: string) => string>> = {
    signed: (of) => `printf("%lld\\n", (long long)${of});`,
    unsigned: (of) => `printf("%llu\\n", (unsigned long long)${of});`,
    bool: (of) => `printf("%d\\n", ${of});`,
    float: (of) => `printf("%.17g\\n", (double)${of});`,
    wide: (of) =>
      `{ unsigned __int128 w = ${of}; printf("0x%llx%016llx\\n", (unsigned long long)(w >> 64), (unsigned long long)w); }`
  }
  const source = `
#include <stdio.h>
#include <stdlib.h>
enum plain { ZERO, ONE, TWO, LARGE = 0x7fffffff };
enum negative { LEAST = -2147483647 - 1, MINUS = -1, NONE, SOME };
${
    types.map(({ body, name, packed, union }) =>
      `${union ? "union" : "struct"} ${name} { ${body.text} }${packed ? " __attribute__((packed))" : ""};`
    ).join("\n")
  }
static unsigned state = ${seed};
static unsigned char next(void) { state = state * 1103515245 + 12345; return state >> 16; }
static void bytes(unsigned char *at, unsigned long size, int fill) {
  for (unsigned long i = 0; i < size; i++) if (fill) at[i] = next(); else printf("%02x", at[i]);
}
${
    types.map(({ body, name, union }) => `
static ${union ? "union" : "struct"} ${name} v_${name};
static void show_${name}(void) {
  bytes((unsigned char *)&v_${name}, sizeof v_${name}, 1);
  ${
      body.leaves.filter(({ kind }) => kind === "bool").map(({ path }) => `v_${name}${expression(path)} = next() & 1;`)
        .join(" ")
    }
  bytes((unsigned char *)&v_${name}, sizeof v_${name}, 0);
  printf("\\n");
  ${body.leaves.map(({ kind, path }) => print[kind](`v_${name}${expression(path)}`)).join("\n  ")}
}`).join("\n")
  }
int main(void) {
${types.map(({ name }) => `  show_${name}();`).join("\n")}
  return 0;
}
`
  return { types, source }
}

const enums: ReadonlyMap<string, bigint> = new Map([
  ["ZERO", 0n],
  ["ONE", 1n],
  ["TWO", 2n],
  ["LARGE", 0x7fff_ffffn],
  ["LEAST", -0x8000_0000n],
  ["MINUS", -1n],
  ["NONE", 0n],
  ["SOME", 1n]
])

const at = (value: BtfValue.BtfValue, path: Leaf["path"]): BtfValue.BtfValue | undefined =>
  path.reduce<BtfValue.BtfValue | undefined>((within, part) => {
    if (Array.isArray(within)) return typeof part === "number" ? within[part] : undefined
    return typeof within === "object" && !(within instanceof Uint8Array)
      ? Object.entries(within).find(([name]) => name === part)?.[1]
      : undefined
  }, value)

/** The decoded member as the program prints it. */
const shown = (kind: Kind, value: BtfValue.BtfValue | undefined): string => {
  if (kind === "bool") return value === true ? "1" : "0"
  if (typeof value === "string") return String(enums.get(value))
  if (typeof value !== "number" && typeof value !== "bigint") return "nothing"
  if (kind === "float") return Number.isNaN(value) ? "nan" : String(value)
  if (kind === "wide" && typeof value === "bigint") return `0x${BigInt.asUintN(128, value).toString(16)}`
  return String(value)
}

const normal = (kind: Kind, printed: string): string => {
  if (kind === "float") return printed.endsWith("nan") ? "nan" : String(Number(printed))
  if (kind === "wide") return `0x${BigInt(printed).toString(16)}`
  return printed
}

const compilers: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [["gcc", []], ["clang", ["-w"]]]

for (const [compiler, flags] of compilers) {
  describeWith({ kind: "oracle", tools: [compiler, "pahole"] }, `values against ${compiler}`, () => {
    for (const seed of [1, 2, 3]) {
      it(`of random types are those that C reads, ${seed}`, () => {
        const folder = temporaryFolder()
        const { source, types } = program(seed, 60)
        const path = (name: string): string => Path.join(folder, name)
        Fs.writeFileSync(path("values.c"), source)
        const built = run(compiler, ["-g", "-O0", ...flags, path("values.c"), "-o", path("values")])
        assert.strictEqual(built.status, 0, built.stderr)
        const encoded = run("pahole", ["--btf_gen_floats", `--btf_encode_detached=${path("btf")}`, path("values")])
        assert.strictEqual(encoded.status, 0, encoded.stderr)
        const ran = run(path("values"), [])
        assert.strictEqual(ran.status, 0, ran.stderr)
        const lines = ran.stdout.split("\n")
        const btf = B.expectSuccess(Btf.parse(new Uint8Array(Fs.readFileSync(path("btf")))))
        let line = 0
        let leaves = 0
        for (const { body, name, union } of types) {
          const id = Btf.findOne(btf, name, union ? Btf.BTF_KIND_UNION : Btf.BTF_KIND_STRUCT) ?? 0
          const bytes = Uint8Array.from(Buffer.from(lines[line++] ?? "", "hex"))
          const value = B.expectSuccess(BtfValue.decode(btf, id, bytes, { text: false }))
          for (const { kind, path: way } of body.leaves) {
            const where = `${name}${expression(way)} in ${body.text}`
            assert.strictEqual(shown(kind, at(value, way)), normal(kind, lines[line++] ?? ""), where)
            leaves++
          }
          // Written again, the members read the same; where there is no union, NaN apart, so are their bytes.
          const again = B.expectSuccess(BtfValue.encode(btf, id, value))
          if (!body.text.includes("union") && !union) {
            assert.deepEqual(B.expectSuccess(BtfValue.decode(btf, id, again, { text: false })), value, name)
          }
        }
        assert.isAbove(leaves, 500)
        assert.strictEqual(line, lines.length - 1)
      })
    }
  })
}
