/**
 * Lists of probes beside `readelf -n` and `bpftrace -l`, of Debian's binaries that have some and of our own; and the places of
 * arguments beside gdb, which stops at probes and tells what their arguments are.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as FileSource from "../../src/attach/FileSource.ts"
import * as UsdtList from "../../src/attach/UsdtList.ts"
import * as ElfBinary from "../../src/services/Elf/ElfBinary.ts"
import type { Argument } from "../../src/usdt/Argument.ts"
import { fullName } from "../../src/usdt/Notes.ts"
import { describeWith, run, temporaryFolder } from "../support/Require.ts"
import { build, sdtHeader, sourceOf } from "../support/UsdtTarget.ts"

const done = (tool: string, args: ReadonlyArray<string>): string => {
  const { status, stderr, stdout } = run(tool, args)
  assert.strictEqual(status, 0, `${tool} ${args.join(" ")}: ${stderr}`)
  return stdout
}

const probesOf = (path: string): Promise<ReadonlyArray<UsdtList.ListedProbe>> =>
  Effect.runPromise(UsdtList.ofFile(path))

const hasSection = (path: string): boolean => {
  const found = FileSource.ask(
    path,
    (source) => Result.flatMap(ElfBinary.open(source), (binary) => ElfBinary.sectionNamed(binary, ".note.stapsdt"))
  )
  return Result.isSuccess(found) && found.success !== undefined
}

/** Debian's, which has probes; others that may be on PATH do not. */
const python = "/usr/bin/python3"

/** Debian's binaries with probes. */
const installed = (): ReadonlyArray<string> => {
  const found = new Set<string>()
  for (const folder of ["/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu"]) {
    if (!Fs.existsSync(folder)) continue
    for (const name of Fs.readdirSync(folder)) {
      const path = Path.join(folder, name)
      if (folder.includes("/lib/") && !name.includes(".so")) continue
      const real = Result.try(() => Fs.realpathSync(path))
      if (Result.isSuccess(real) && hasSection(real.success)) found.add(real.success)
    }
  }
  return [...found].sort()
}

/** A library of 32 bits. */
const library32 = (): string => {
  const folder = temporaryFolder()
  const object = Path.join(folder, "library.o")
  const library = Path.join(folder, "library.so")
  const include = Path.dirname(Path.dirname(sdtHeader))
  const flags = ["-target", "i386-linux-gnu", "-ffreestanding", `-I${include}`, "-O2", "-fPIC"]
  done("clang", [...flags, "-c", sourceOf("usdt_library.c"), "-o", object])
  done("ld", ["-m", "elf_i386", "-shared", "-o", library, object])
  return library
}

const hex = (value: bigint): string => value.toString(16)

/** One line for each place of a probe: provider, name, address, semaphore, arguments. */
const asReadelf = (path: string): ReadonlyArray<string> => {
  const base = /\.stapsdt\.base\s+PROGBITS\s+([0-9a-f]+)/.exec(done("readelf", ["-SW", path]))?.[1]
  const notes = done("readelf", ["-nW", path])
  const pattern =
    /Provider: (.*)\n\s+Name: (.*)\n\s+Location: 0x(\w+), Base: 0x(\w+), Semaphore: 0x(\w+)\n\s+Arguments: ?(.*)/g
  return [...notes.matchAll(pattern)].map(([, provider, name, location, linked, semaphore, parts]) => {
    const [at, from] = [BigInt(`0x${location}`), BigInt(`0x${linked}`)]
    const moved = base === undefined || from === 0n ? 0n : BigInt(`0x${base}`) - from
    const counter = BigInt(`0x${semaphore}`)
    return `${provider} ${name} ${hex(at + moved)} ${hex(counter === 0n ? 0n : counter + moved)} ${parts}`
  })
}

const asOurs = (probes: ReadonlyArray<UsdtList.ListedProbe>): ReadonlyArray<string> =>
  probes.map(({ probe: { address, arguments: parts, name, provider, semaphore } }) =>
    `${provider} ${name} ${hex(address)} ${hex(semaphore ?? 0n)} ${parts}`
  )

const C: Readonly<Record<number, string>> = { 1: "char", 2: "short", 4: "int", 8: "long" }

/** An argument as gdb computes it from registers and memory. */
const expression = ({ location, signed, size }: Argument): string => {
  const type = `${signed ? "signed" : "unsigned"} ${C[size] ?? "long"}`
  switch (location._tag) {
    case "Constant":
      return `(long)(${type})${location.value}`
    case "Register":
      return `(long)(${type})$${location.register}`
    case "Memory":
      return `(long)*(${type}*)((long)$${location.base}+${location.offset})`
    case "Indexed": {
      const { base, index, offset, scale } = location
      return `(long)*(${type}*)((long)$${base}+(long)$${index}*${scale}+${offset})`
    }
    case "Symbol":
      return `(long)*(${type}*)((long)&'${location.symbol}'+${location.offset})`
  }
}

describeWith(
  { kind: "oracle", tools: ["readelf", "cc", "clang", "ld"], files: [sdtHeader] },
  "usdt list, beside readelf",
  () => {
    it("on Debian's binaries that have probes", async () => {
      const paths = installed()
      assert.isNotEmpty(paths)
      let places = 0
      for (const path of paths) {
        const ours = asOurs(await probesOf(path))
        assert.deepStrictEqual(ours, asReadelf(path), path)
        assert.isNotEmpty(ours, path)
        places += ours.length
      }
      console.error(`usdt: ${places} places in ${paths.join(", ")}`)
    })

    it("on programs and libraries of ours, of both classes", async () => {
      const { library, program } = build()
      for (const path of [library, program, build(["-no-pie"]).program, library32()]) {
        const probes = await probesOf(path)
        assert.deepStrictEqual(asOurs(probes), asReadelf(path), path)
        assert.isNotEmpty(probes, path)
        for (const { arguments: parts, place } of probes) {
          assert.isTrue(Result.isSuccess(place))
          assert.isTrue(Result.isSuccess(parts))
        }
      }
    })

    it("a probe that is moved or renamed is seen", async () => {
      const { program } = build()
      const [first, ...rest] = await probesOf(program)
      if (first === undefined) assert.fail()
      const judge = asReadelf(program)
      for (const change of [{ address: first.probe.address + 1n }, { name: "other" }, { semaphore: 1n }]) {
        assert.notDeepEqual(asOurs([{ ...first, probe: { ...first.probe, ...change } }, ...rest]), judge)
      }
    })
  }
)

describeWith({ kind: "oracle", tools: ["bpftrace", "cc"], files: [sdtHeader] }, "usdt list, beside bpftrace", () => {
  it("has the same names", async () => {
    const { library, program } = build()
    const folder = temporaryFolder()
    const others = installed().filter((path) => /python|libstdc/.test(path)).slice(0, 4)
    for (const [index, path] of [program, library, ...others].entries()) {
      // bpftrace takes no path with plus signs.
      const copy = Path.join(folder, `binary${index}`)
      Fs.copyFileSync(path, copy)
      const listed = done("bpftrace", ["-l", `usdt:${copy}:*`]).split("\n").filter((line) => line.startsWith("usdt:"))
      const names = listed.map((line) => line.slice(`usdt:${copy}:`.length))
      const ours = new Set((await probesOf(copy)).map(({ probe }) => fullName(probe)))
      assert.deepStrictEqual([...ours].sort(), [...new Set(names)].sort(), path)
    }
  })
})

describeWith({ kind: "oracle", tools: ["gdb", "cc"], files: [sdtHeader, python] }, "arguments, beside gdb", () => {
  /** Runs a program in gdb, stops once at each of its probes, and lets gdb compute what we think that its arguments are. */
  const seen = async (
    path: string,
    args: string
  ): Promise<ReadonlyMap<string, readonly [ReadonlyArray<string>, ReadonlyArray<string>]>> => {
    const probes = await probesOf(path)
    const lines = ["set pagination off", "set confirm off", "set debuginfod enabled off", "set width 0"]
    for (const { arguments: parts, probe } of probes) {
      const name = fullName(probe)
      const all = probes.filter((other) => fullName(other.probe) === name)
      // At a probe of several places gdb does not say at which one it has stopped.
      if (all.length > 1 || Result.isFailure(parts) || parts.success.length === 0) continue
      // gdb does not understand variables either.
      if (parts.success.some(({ location }) => location._tag === "Symbol")) continue
      const theirs = parts.success.map((_, index) => `(long)$_probe_arg${index}`)
      const values = [...theirs, ...parts.success.map(expression)]
      lines.push(`tbreak -probe-stap ${name}`, "commands", "silent")
      lines.push(`printf "AT ${name} %ld${" %ld".repeat(values.length)}\\n", (long)$_probe_argc, ${values.join(", ")}`)
      lines.push("continue", "end")
    }
    const script = Path.join(temporaryFolder(), "script")
    Fs.writeFileSync(script, [...lines, `run ${args}`, ""].join("\n"))
    const { stdout } = run("gdb", ["-batch", "-nx", "-x", script, path])
    return new Map([...stdout.matchAll(/^AT (\S+) (\d+) (.*)$/gm)].map(([, name = "", count, values = ""]) => {
      const all = values.split(" ")
      assert.strictEqual(all.length, 2 * Number(count), name)
      return [name, [all.slice(0, Number(count)), all.slice(Number(count))]] as const
    }))
  }

  it("of Python's probes are what gdb says", async () => {
    const path = Fs.realpathSync(python)
    const stops = await seen(path, `-c "import json, gc; gc.collect()" > /dev/null`)
    assert.isAtLeast(stops.size, 5, [...stops.keys()].join(" "))
    for (const [name, [gdb, ours]] of stops) assert.deepStrictEqual(ours, gdb, name)
  })

  it("of ours, in all widths, are what gdb says", async () => {
    const { folder, program } = build()
    const input = Path.join(folder, "input")
    Fs.writeFileSync(input, "\n")
    const stops = await seen(program, `< ${input} > /dev/null`)
    assert.includeMembers([...stops.keys()], ["effect:begin", "effect:widths", "effect:indexed"])
    for (const [name, [gdb, ours]] of stops) assert.deepStrictEqual(ours, gdb, name)
    assert.deepStrictEqual(
      stops.get("effect:widths")?.[0].slice(0, 7),
      "-1 200 -300 60000 -70000 4000000000 -5000000000000".split(" ")
    )
  })

  it("that are read from elsewhere are seen", () => {
    const argument: Argument = { size: 4, signed: true, location: { _tag: "Memory", base: "rsp", offset: 8n } }
    assert.strictEqual(expression(argument), "(long)*(signed int*)((long)$rsp+8)")
    const elsewhere = { ...argument.location, offset: 12n }
    assert.notStrictEqual(expression({ ...argument, location: elsewhere }), expression(argument))
  })
})
