import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Layer from "effect/Layer"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as TestConsole from "effect/testing/TestConsole"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { Failed } from "../../../src/cli/Failed.ts"
import { run } from "../../../src/cli/Main.ts"
import * as Inputs from "../../../src/cli/core/Inputs.ts"
import * as Html from "../../../src/cli/html/Html.ts"
import { matrixPage } from "../../../src/cli/html/MatrixPage.ts"
import { matrixDocument } from "../../../src/cli/json/MatrixDocument.ts"
import { sarifDocument } from "../../../src/cli/json/Sarif.ts"
import { matrixText } from "../../../src/cli/text/MatrixText.ts"
import { plain, render } from "../../../src/cli/text/Text.ts"
import * as Compatibility from "../../../src/diagnostics/Compatibility.ts"
import * as Diagnostic from "../../../src/diagnostics/Diagnostic.ts"
import * as KernelProfile from "../../../src/services/Kernel/KernelProfile.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"
import { objects } from "../../support/CoreObjects.ts"
import * as Variants from "../../support/KernelVariants.ts"
import { check } from "../../support/Documents.ts"
import { repository, run as runProcess, temporaryFolder } from "../../support/Require.ts"
import * as Sarif from "../../support/Sarif.ts"

const fixture = (name: string) => Path.join(repository, "test/fixtures", name)

/** Where standard output and error lead. */
interface Streams {
  readonly stdoutIsTerminal?: boolean
  readonly stderrIsTerminal?: boolean
  readonly colors?: boolean
}

/** Runs the command in this process: its exit status, and what it prints and writes. */
const commandOn = (streams: Streams, ...args: ReadonlyArray<string>) => {
  let progress = ""
  const into = Sink.forEach((chunk: string | Uint8Array) =>
    Effect.sync(() => {
      progress += typeof chunk === "string" ? chunk : new TextDecoder().decode(chunk)
    })
  )
  return Effect.gen(function*() {
    const exit = yield* Effect.exit(run("1.2.3")(["core", "check", ...args]))
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
    if (error !== undefined && !(error instanceof Failed)) return yield* Effect.die(error)
    return check(["core", "check", ...args], {
      status: error === undefined ? 0 : error.status,
      stdout: (yield* TestConsole.logLines).join("\n"),
      stderr: (yield* TestConsole.errorLines).join("\n"),
      progress
    })
  }).pipe(
    Effect.provideService(TerminalCapabilities, {
      canColor: streams.colors === true,
      canAnimate: true,
      canPrompt: false
    }),
    Effect.provide([
      Layer.merge(
        NodeServices.layer,
        Stdio.layerTest({
          stderr: () => into,
          stdoutIsTerminal: Effect.succeed(streams.stdoutIsTerminal ?? false),
          stderrIsTerminal: Effect.succeed(streams.stderrIsTerminal ?? false)
        })
      ),
      TestConsole.layer
    ])
  )
}

const command = (...args: ReadonlyArray<string>) => commandOn({}, ...args)

const folder = temporaryFolder()

/** A file of these bytes. */
const file = (name: string, bytes: Uint8Array): string => {
  const path = Path.join(folder, name)
  Fs.mkdirSync(Path.dirname(path), { recursive: true })
  Fs.writeFileSync(path, bytes)
  return path
}

const small = Variants.smallKernel()

const objectFile = (name: string): string =>
  file(`${name}.bpf.o`, objects.find((object) => object.name === name)?.bytes ?? new Uint8Array())

const variantFile = (name: string, variant: string): string => {
  const found = Variants.variants.find((each) => each.name === variant)
  if (found === undefined) throw new Error(`no variant ${variant}`)
  return file(name, Variants.make(found, small).base.bytes)
}

const withPid = file("6.6.btf", small.bytes)
const withoutPid = variantFile(
  "6.12.btf",
  Variants.variants.find(({ cells }) => cells.readPidGuarded === "guarded")?.name ?? ""
)
const readPid = objectFile("readPid")
const guardedPid = objectFile("readPidGuarded")

describe("core check", () => {
  it.live("explains itself with examples", () =>
    Effect.gen(function*() {
      const { status, stdout } = yield* command("--help")
      assert.strictEqual(status, 0)
      assert.match(stdout, /^usage: effect-bpf core check /)
      assert.match(stdout, /^ {2}effect-bpf core check /m)
    }))

  it.live("prints a sign for each object and kernel, what is behind it, and exits 1 for a fatal one", () =>
    Effect.gen(function*() {
      const { status, stderr, stdout } = yield* command(readPid, guardedPid, "--btf", withoutPid, "--btf", withPid)
      assert.strictEqual(status, 1)
      assert.strictEqual(stderr, "")
      const lines = stdout.split("\n").map((line) => line.trimEnd())
      // 6.6 comes before 6.12, whatever the order of the arguments.
      assert.deepStrictEqual(lines.slice(0, 3), [
        "                        6.6   6.12",
        "  readPid.bpf.o         +     x",
        "  readPidGuarded.bpf.o  +     ~"
      ])
      assert.match(stdout, /fatal {2}struct task_struct\.pid {2}prog/)
      assert.match(stdout, /on 6\.12\n/)
      assert.match(stdout, /hint: /)
      assert.notMatch(stdout, /guarded {2}struct/)
      assert.match(stdout, /2 objects on 2 kernels: 2 green, 1 guarded, 1 fatal$/)
      assert.match(
        stdout,
        /What is missing from some kernels\n {2}struct task_struct\.pid\n {6}6\.6: .*\n {6}6\.12: no pid/
      )
    }))

  it.live("exits 0 without a fatal cell, and lists what is guarded when it is asked to", () =>
    Effect.gen(function*() {
      const { status, stdout } = yield* command(guardedPid, "--guarded", "--btf", withPid, "--btf", withoutPid)
      assert.strictEqual(status, 0)
      assert.match(stdout, /guarded {2}struct task_struct\.pid/)
    }))

  it.live("takes files behind objects for kernels, as a shell makes them of a pattern", () =>
    Effect.gen(function*() {
      const { stdout } = yield* command(guardedPid, "--btf", withPid, withoutPid, "--json")
      assert.deepStrictEqual(JSON.parse(stdout).kernels.map(({ name }: { name: string }) => name), ["6.6", "6.12"])
      const swapped = file("big.btf", B.blob([B.int("int", 4, 1)], { order: "big" }))
      const big = yield* command(guardedPid, swapped, "--json")
      assert.strictEqual(big.status, 1)
      assert.strictEqual(JSON.parse(big.stdout).findings[0].rule, "byte-order")
    }))

  it.live("refuses to work on nothing", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* command()).status, 2)
      const without = yield* command(readPid)
      assert.strictEqual(without.status, 2)
      assert.match(without.stderr, /there is no kernel to check against/)
      assert.strictEqual((yield* command(withPid)).status, 2)
      assert.strictEqual((yield* command(readPid, "--btf", withPid, "--threads", "0")).status, 2)
      const both = yield* command(readPid, "--btf", withPid, "--sarif", "-", "--json")
      assert.strictEqual(both.status, 2)
    }))

  it.live("gives objects and kernels that cannot be read a row and a column", () =>
    Effect.gen(function*() {
      const noObject = file("no.bpf.o", Uint8Array.of(1, 2, 3))
      const noKernel = file("7.0.btf", Uint8Array.of(0x9f, 0xeb, 9, 9, 9))
      const { status, stderr, stdout } = yield* command(
        guardedPid,
        noObject,
        "absent.bpf.o",
        "--btf",
        withPid,
        "--btf",
        noKernel,
        "--btf",
        "/absent/8.0.btf",
        "--json"
      )
      assert.strictEqual(status, 1)
      assert.strictEqual(stderr, "")
      const document = JSON.parse(stdout)
      assert.deepStrictEqual(document.objects.map(({ problem }: { problem: string | null }) => problem !== null), [
        false,
        true,
        true
      ])
      assert.deepStrictEqual(
        document.kernels.map(({ name, problem }: { name: string; problem: string | null }) => [name, problem !== null]),
        [
          ["6.6", false],
          ["7.0", true],
          ["8.0", true]
        ]
      )
      assert.deepStrictEqual(document.summary, { green: 1, guarded: 0, unknown: 0, fatal: 8 })
      assert.deepStrictEqual(
        document.findings.map(({ rule }: { rule: string }) => rule),
        ["kernel-unreadable", "kernel-unreadable", "object-unreadable", "object-unreadable"]
      )
      assert.match(document.kernels[2].problem, /no such file/)
    }))

  it.live("reads profiles, with their modules and configuration", () =>
    Effect.gen(function*() {
      const profile = Path.join(folder, "profiles", "6.1-cloud")
      for (
        const [name, bytes] of KernelProfile.encode({
          ...KernelProfile.fromTypesAlone(small),
          release: "6.1-cloud",
          modules: [],
          configuration: "CONFIG_NET=y\n",
          kernelVersion: 0x06_01_00,
          features: { BpfCookie: true, SyscallWrapper: true }
        })
      ) file(Path.join("profiles", "6.1-cloud", name), bytes)
      const { stdout } = yield* command(fixture("externs.bpf.o"), "--btf", profile, "--json")
      const document = JSON.parse(stdout)
      assert.deepStrictEqual(document.kernels, [{ name: "6.1-cloud", path: profile, problem: null }])
      assert.deepStrictEqual([document.findings[0].rule, document.findings[0].verdict], ["kernel-option", "fatal"])
      assert.deepStrictEqual(document.unchecked, [])
    }))

  it.live("comes to the same on several threads", () =>
    Effect.gen(function*() {
      const paths = [readPid, guardedPid, fixture("core_reads.bpf.o"), fixture("ksyms.bpf.o")]
      const kernels = [
        withPid,
        withoutPid,
        variantFile("6.13.btf", Variants.variants[0]?.name ?? ""),
        file("bad.btf", Uint8Array.of(1))
      ]
      const args = [...paths, ...kernels.flatMap((path) => ["--btf", path]), "--json"]
      const alone = yield* command(...args, "--threads", "1")
      const threads = yield* command(...args, "--threads", "2")
      assert.strictEqual(threads.status, 1)
      assert.deepStrictEqual(JSON.parse(threads.stdout), JSON.parse(alone.stdout))
    }), 60_000)

  it.live("says how far it is on a terminal, and colours what it prints there", () =>
    Effect.gen(function*() {
      const shown = yield* commandOn(
        { stdoutIsTerminal: true, stderrIsTerminal: true, colors: true },
        guardedPid,
        "--btf",
        withPid,
        "--btf",
        withoutPid
      )
      assert.match(shown.progress, /checked 2 of 2 kernels…/)
      assert.isTrue(shown.progress.endsWith("\r\u001b[K"))
      assert.include(shown.stdout, "\u001b[32m+")
      const piped = yield* command(guardedPid, "--btf", withPid)
      assert.strictEqual(piped.progress, "")
      assert.notInclude(piped.stdout, "\u001b")
    }))
})

describe("core check --json", () => {
  it.live("has stable keys", () =>
    Effect.gen(function*() {
      const { stdout } = yield* command(readPid, "--btf", withPid, "--btf", withoutPid, "--json")
      const document = JSON.parse(stdout)
      assert.deepStrictEqual(Object.keys(document), [
        "objects",
        "kernels",
        "summary",
        "cells",
        "findings",
        "history",
        "unchecked"
      ])
      assert.deepStrictEqual(document.cells[1], {
        object: readPid,
        kernel: "6.12",
        verdict: "fatal",
        relocations: { relocations: 1, resolved: 0, guarded: 0, unknown: 0, fatal: 1 },
        findings: [0],
        omitted: 0
      })
      assert.deepStrictEqual(Object.keys(document.findings[0]), [
        "object",
        "kernels",
        "rule",
        "verdict",
        "subject",
        "detail",
        "hint",
        "programs",
        "function",
        "insn",
        "file",
        "line",
        "column",
        "source",
        "kinds",
        "optional",
        "candidates"
      ])
      assert.deepInclude(document.findings[0], {
        object: readPid,
        kernels: ["6.12"],
        rule: "field-missing",
        subject: "struct task_struct.pid",
        insn: 0,
        candidates: [{ module: null, type: "struct task_struct", reason: "no_member", at: "pid" }]
      })
      assert.deepStrictEqual(document.history[0].changes, [
        {
          before: "6.6",
          after: "6.12",
          kinds: document.history[0].changes[0].kinds,
          name: document.history[0].changes[0].name
        }
      ])
    }))
})

describe("core check, of what objects need", () => {
  const profile = (release: string): string => {
    const folder = Path.join(temporaryFolder(), release)
    for (const [name, bytes] of KernelProfile.encode({ ...KernelProfile.fromTypesAlone(small), release })) {
      Fs.mkdirSync(Path.dirname(Path.join(folder, name)), { recursive: true })
      Fs.writeFileSync(Path.join(folder, name), bytes)
    }
    return folder
  }
  const arena = fixture("arena.bpf.o")
  const firewall = fixture("xdp_firewall.bpf.o")

  it.live("tells what each kernel lacks, by its release, and the oldest Linux for each object", () =>
    Effect.gen(function*() {
      const [old, fitting] = [profile("6.1.0"), profile("6.12.0")]
      const page = Path.join(temporaryFolder(), "matrix.html")
      const { status, stdout } = yield* command(arena, firewall, "--btf", old, "--btf", fitting, "--html", page)
      assert.strictEqual(status, 1)
      assert.match(stdout, /^ {2}arena\.bpf\.o +x +\+/m)
      assert.match(stdout, /^ {2}xdp_firewall\.bpf\.o +\+ +\+/m)
      assert.match(
        stdout,
        /fatal {2}BPF_MAP_TYPE_ARENA\n {6}map \w+ needs it; it came with Linux 6\.9, and the kernel is 6\.1\.0\n/
      )
      assert.match(stdout, /^ {2}6\.9 +arena\.bpf\.o: casts between address spaces, BPF_MAP_TYPE_ARENA$/m)
      assert.match(stdout, /^ {2}5\.12 +xdp_firewall\.bpf\.o: atomic operations/m)
      const html = Fs.readFileSync(page, "utf8")
      assert.include(html, "<td><code>arena.bpf.o</code></td><td>6.9</td><td>6.9</td>")
    }))

  it.live("has it as data", () =>
    Effect.gen(function*() {
      const { stdout } = yield* command(arena, "--btf", profile("6.1.0"), "--json")
      const { findings, objects } = JSON.parse(stdout)
      assert.deepStrictEqual(objects[0].oldest.load, {
        release: "6.9",
        because: ["casts between address spaces", "BPF_MAP_TYPE_ARENA"],
        open: []
      })
      const map = findings.find(({ subject }: { subject: string }) => subject === "BPF_MAP_TYPE_ARENA")
      assert.deepInclude(map, { rule: "kernel-feature", verdict: "fatal" })
      const { stdout: none } = yield* command(fixture("packets.pcap"), "--btf", profile("6.1.0"), "--json")
      assert.isNull(JSON.parse(none).objects[0].oldest)
    }))
})

describe("core check --sarif", () => {
  it.live("is a well-formed log with the source of each finding", () =>
    Effect.gen(function*() {
      const { status, stdout } = yield* command(
        fixture("core_reads.bpf.o"),
        readPid,
        "--btf",
        withPid,
        "--btf",
        withoutPid,
        "--sarif",
        "-"
      )
      assert.strictEqual(status, 1)
      const [run] = Sarif.logOf(JSON.parse(stdout)).runs
      assert.strictEqual(run.tool.driver.name, "effect-bpf")
      const inSource = run.results.find(({ locations }) => locations[0]?.physicalLocation.region !== undefined)
      assert.match(inSource?.locations[0]?.physicalLocation.artifactLocation.uri ?? "", /core_reads\.bpf\.c$/)
      assert.isAbove(inSource?.locations[0]?.physicalLocation.region?.startLine ?? 0, 0)
      assert.includeMembers(run.results.map(({ level }) => level), ["error"])
      // Without lines the object itself is the place.
      const inObject = run.results.find(({ properties }) => properties["object"] === readPid)
      assert.isTrue(inObject?.locations[0]?.physicalLocation.artifactLocation.uri.startsWith("file:///"))
    }))
})

// ---- Names that were made to do harm ---------------------------------------------------------------------------------

const hostile = "</style><script>alert(1)</script>\" onmouseover='x' \u001b[2J\u202eevil\n%00{}\ud800 & ".repeat(3)

const sarif = (matrix: Compatibility.Matrix) =>
  sarifDocument(Diagnostic.ofMatrix(matrix), { version: "1.2.3", relative: (path) => path, successful: true })

const hostileMatrix = (): Compatibility.Matrix => {
  const places: Compatibility.Places = new Map([
    [`field ${hostile}`, {
      reference: { what: "field", path: hostile },
      place: { _tag: "Absent", reason: "NoMember", at: hostile }
    }]
  ])
  const later: Compatibility.Places = new Map([
    [`field ${hostile}`, {
      reference: { what: "field", path: hostile },
      place: { _tag: "Present", module: hostile, bitOffset: 3, type: hostile, size: undefined, value: undefined }
    }]
  ])
  const finding: Compatibility.Finding = {
    rule: "field-missing",
    verdict: "fatal",
    subject: hostile,
    detail: hostile,
    hint: hostile,
    programs: [hostile],
    function: hostile,
    slot: 3,
    source: { file: hostile, line: 7, column: 2, text: hostile, indent: 0 },
    kinds: ["byte_off"],
    optional: false,
    candidates: [{ module: hostile, name: hostile, reason: "NoMember", at: hostile }]
  }
  const cell: Compatibility.Cell = {
    verdict: "fatal",
    relocations: { relocations: 1, resolved: 0, guarded: 0, unknown: 0, fatal: 1 },
    findings: [finding],
    omitted: 2,
    unchecked: [hostile]
  }
  return Compatibility.assemble(
    [{ name: hostile, path: hostile, problem: undefined }, { name: "b", path: hostile, problem: hostile }],
    [
      { name: hostile, path: hostile, problem: undefined },
      { name: "k", path: "k", problem: undefined },
      { name: "z", path: hostile, problem: hostile }
    ],
    [{ cells: [cell, undefined], places }, { cells: [cell, undefined], places: later }, undefined],
    new Map([[Compatibility.questionKey(1, 0, { what: "field", path: hostile }), hostile]])
  )
}

describe("names that were made to do harm", () => {
  const matrix = hostileMatrix()

  it("are text in a page, and nothing else", () => {
    const page = new TextDecoder().decode(Html.encode(matrixPage(matrix, "1.2.3")))
    assert.notMatch(page, /<script/)
    assert.notMatch(page, /\sonmouseover='x'/)
    assert.lengthOf(page.match(/<style>/g) ?? [], 1)
    assert.lengthOf(page.match(/<\/style>/g) ?? [], 1)
    for (const character of ["\u001b", "\u202e", "\u0000"]) assert.notInclude(page, character)
    // Elements close in the order in which they were opened.
    const open: Array<string> = []
    for (
      const [, close, name = ""] of page.replace(/<style>[\s\S]*?<\/style>/, "").matchAll(
        /<(\/?)([a-z][a-z0-9]*)\b[^<>]*>/g
      )
    ) {
      if (["meta", "br"].includes(name)) continue
      if (close === "") open.push(name)
      else assert.strictEqual(open.pop(), name)
    }
    assert.deepStrictEqual(open, [])
    // Attributes have no quotes in them but their own.
    for (const [tag] of page.replace(/<style>[\s\S]*?<\/style>/, "").matchAll(/<[a-z][^<>]*>/g)) {
      assert.match(tag, /^<[a-z][a-z0-9]*(?: [a-z-]+(?:="[^"<>]*")?)*>$/)
    }
  })

  it("named fault: a page that puts names in as they are does not pass", () => {
    assert.strictEqual(Html.encode(Html.html`<p>${{ parts: ["<script>"] }}</p>`).length, "<p><script></p>".length)
    assert.strictEqual(
      new TextDecoder().decode(Html.encode(Html.html`<p title="${"\"<'&>"}">${["<b>", 1]}</p>`)),
      "<p title=\"&quot;&lt;&#39;&amp;&gt;\">&lt;b&gt;1</p>"
    )
  })

  it("needs nothing from elsewhere", () => {
    const page = new TextDecoder().decode(Html.encode(matrixPage(matrix, "1.2.3")))
    assert.notMatch(page, /(?:src|href)="(?!#)/)
    assert.notMatch(page, /url\(|@import/)
    assert.include(page, "default-src 'none'")
    assert.include(page, "color-scheme: light dark")
  })

  it("every link leads to something on the page", () => {
    const page = new TextDecoder().decode(Html.encode(matrixPage(matrix, "1.2.3")))
    for (const [, id] of page.matchAll(/href="#([^"]*)"/g)) {
      if (id?.startsWith("f")) assert.include(page, `id="${id}"`)
    }
  })

  it("are escaped in SARIF's locations, and the log stays well formed", () => {
    const log = Sarif.logOf(JSON.parse(JSON.stringify(sarif(matrix))))
    assert.lengthOf(log.runs[0].results, matrix.findings.length)
  })

  it("are escaped on a terminal, and stay what they are in JSON", () => {
    const text = render(matrixText(matrix, { width: 80, guarded: true }), plain)
    for (const character of ["\u001b", "\u202e"]) assert.notInclude(text, character)
    assert.strictEqual(JSON.parse(JSON.stringify(matrixDocument(matrix))).findings[0].subject.slice(0, 8), "</style>")
  })
})

describe("SARIF", () => {
  const document = () => JSON.parse(JSON.stringify(sarif(hostileMatrix())))
  const broken = (spoil: (document: ReturnType<typeof JSON.parse>) => void): string | undefined => {
    const spoiled = document()
    spoil(spoiled)
    return Sarif.problem(spoiled)
  }
  it("named faults: the judge finds what is wrong", () => {
    assert.isUndefined(Sarif.problem(document()))
    const spoilers = [
      (log: ReturnType<typeof JSON.parse>) => (log.version = "2.0.0"),
      (log: ReturnType<typeof JSON.parse>) => (log.runs[0].results[0].level = "fatal"),
      (log: ReturnType<typeof JSON.parse>) => (log.runs[0].results[0].ruleIndex = 2),
      (log: ReturnType<typeof JSON.parse>) => (log.runs[0].results[0].message = "text"),
      (
        log: ReturnType<typeof JSON.parse>
      ) => (log.runs[0].results[0].locations[0].physicalLocation.artifactLocation.uri = "a b"),
      (
        log: ReturnType<typeof JSON.parse>
      ) => (log.runs[0].results[0].locations[0].physicalLocation.region = { startLine: 0 }),
      (log: ReturnType<typeof JSON.parse>) => (log.runs[0].more = 1)
    ]
    for (const [position, spoil] of spoilers.entries()) assert.isDefined(broken(spoil), String(position))
  })
})

describe("a table", () => {
  const matrix = (kernels: ReadonlyArray<string>): Compatibility.Matrix =>
    Compatibility.assemble(
      [{ name: "a.bpf.o", path: "a.bpf.o", problem: undefined }],
      kernels.map((name) => ({ name, path: name, problem: undefined })),
      kernels.map(() => ({
        cells: [{
          verdict: "green",
          relocations: { relocations: 0, resolved: 0, guarded: 0, unknown: 0, fatal: 0 },
          findings: [],
          omitted: 0,
          unchecked: []
        }],
        places: new Map()
      }))
    )

  it("is broken into blocks of kernels that fit", () => {
    const kernels = Array.from({ length: 40 }, (_, index) => `6.${index}`)
    const lines = render(matrixText(matrix(kernels), { width: 60 }), plain).split("\n")
    assert.isTrue(lines.every((line) => line.length <= 60))
    assert.lengthOf(lines.filter((line) => line.startsWith("  a.bpf.o")), 5)
    assert.lengthOf(
      render(matrixText(matrix(kernels)), plain).split("\n").filter((line) => line.startsWith("  a.bpf.o")),
      1
    )
  })

  it("numbers kernels with long names", () => {
    const lines = render(matrixText(matrix(["6.1.0-47-cloud-amd64", "6.12.117+deb12-cloud-amd64"])), plain)
    assert.match(lines, /^ +1 {2}2\n/)
    assert.match(lines, / {2}2 {2}6\.12\.117\+deb12-cloud-amd64\n/)
  })
})

describe("names of kernels", () => {
  const names = (...paths: ReadonlyArray<string>) => Inputs.named(paths).map(({ name }) => name)
  it("are as short as they can be, and in the order of versions", () => {
    assert.deepStrictEqual(names("k/6.12.btf", "k/6.6.btf", "k/6.6.btf"), ["6.6", "6.12"])
    assert.deepStrictEqual(names("a/6.6.btf", "b/6.6.btf"), ["a/6.6", "b/6.6"])
    assert.deepStrictEqual(names("/boot/6.1.0-amd64/vmlinux"), ["6.1.0-amd64"])
    assert.deepStrictEqual(names("profile/btf/vmlinux"), ["profile"])
    assert.deepStrictEqual(names("/sys/kernel/btf/vmlinux"), ["running"])
    assert.deepStrictEqual(names("vmlinux"), ["vmlinux"])
    assert.deepStrictEqual(names("x/profile/"), ["profile"])
    assert.deepStrictEqual(new Set(names("/a", "a", "./a", "b/../a")).size, 4)
  })
})

describe("the command as a process", () => {
  it("ends with its status, and writes the page", () => {
    const page = Path.join(folder, "matrix.html")
    const { status, stderr, stdout } = runProcess("node", [
      Path.join(repository, "src/bin.ts"),
      "core",
      "check",
      readPid,
      "--btf",
      withPid,
      withoutPid,
      "--html",
      page
    ], { env: { NO_COLOR: "1" } })
    assert.strictEqual(stderr, "")
    assert.strictEqual(status, 1)
    assert.notInclude(stdout, "\u001b")
    assert.match(Fs.readFileSync(page, "utf8"), /^<!doctype html>\n<html lang="en">/)
  })
})
