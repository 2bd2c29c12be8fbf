/** Files of running processes: replaced and deleted ones, those of other mount namespaces, and processes that are gone. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as BinaryFile from "../../../src/attach/BinaryFile.ts"
import * as Process from "../../../src/attach/Process.ts"
import * as Maps from "../../../src/attach/ProcessMaps.ts"
import * as Command from "../../support/Command.ts"
import { describeWith, run, temporaryFolder } from "../../support/Require.ts"

const compile = (args: ReadonlyArray<string>, source: string): void => {
  const { status, stderr } = run("cc", ["-O1", "-x", "c", "-", ...args], { input: source })
  assert.strictEqual(status, 0, stderr)
}

/** A program that says where a function of its library is, and waits until its input ends. */
const build = () => {
  const folder = Path.join(temporaryFolder(), "a b: c")
  Fs.mkdirSync(folder)
  const library = Path.join(folder, "libours.so.1")
  compile(["-shared", "-fPIC", "-o", library], "int traced(int x) { return x + 1; }\n")
  const program = Path.join(folder, "program")
  compile(
    ["-o", program, "-x", "none", library, `-Wl,-rpath,${folder}`],
    `#include <stdio.h>
     #include <unistd.h>
     int traced(int);
     int main(void) { char c; printf("%p\\n", (void *)traced); fflush(stdout); while (read(0, &c, 1) > 0); return traced(1); }`
  )
  return { folder, library, program }
}

const promise = Effect.runPromise

/** Starts a process, waits for its first line, and ends it when `body` is done. */
const during = async <A>(
  file: string,
  args: ReadonlyArray<string>,
  body: (pid: number, line: string) => Promise<A>
): Promise<A> => {
  const child = ChildProcess.spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] })
  const ended = new Promise((resolve) => child.on("exit", resolve))
  try {
    const line = await new Promise<string>((resolve, reject) => {
      child.stdout.once("data", (data: Uint8Array) => resolve(new TextDecoder().decode(data).trim()))
      child.once("error", reject)
    })
    return await body(child.pid ?? 0, line)
  } finally {
    child.stdin.end()
    await ended
  }
}

describeWith({ kind: "oracle", tools: ["cc"] }, "files of processes", () => {
  it("are those that they execute, and a function is in memory where its offset is mapped", async () => {
    const { library, program } = build()
    await during(program, [], async (pid, address) => {
      const files = await promise(Process.executables(pid))
      assert.strictEqual(files[0]?.path, program)
      const file = await promise(Process.executableNamed(pid, "libours.so"))
      assert.strictEqual(file.path, library)
      assert.strictEqual(await promise(Process.pathOf(pid, file)), library)
      const [traced] = await promise(BinaryFile.functions(library, ["traced"]))
      assert.strictEqual(Maps.addressOf(file, traced?.offset ?? 0n), BigInt(address))
    })
  })

  it("are reached when they were deleted, or replaced by others", async () => {
    const { library, program } = build()
    await during(program, [], async (pid) => {
      const before = await promise(BinaryFile.functions(library, ["traced"]))
      Fs.renameSync(library, `${library}.old`)
      Fs.writeFileSync(library, "another file")
      Fs.rmSync(`${library}.old`)
      const file = await promise(Process.executableNamed(pid, `${library}.old`))
      assert.isTrue(file.isDeleted)
      const path = await promise(Process.pathOf(pid, file))
      assert.match(path, /^\/proc\/\d+\/map_files\//)
      const [traced] = await promise(BinaryFile.functions(path, ["traced"]))
      assert.strictEqual(traced?.offset, before[0]?.offset)
    })
  })

  it("are said to be absent, with those that are there", async () => {
    const { program } = build()
    await during(program, [], async (pid) => {
      const failure = await promise(Effect.flip(Process.executableNamed(pid, "libnone.so")))
      assert.strictEqual(failure.reason, "NotMapped")
      assert.include(failure.near ?? [], program)
    })
  })

  it("are none of processes that are gone", async () => {
    const { program } = build()
    const gone = await during(program, [], (pid) => Promise.resolve(pid))
    for (const pid of [gone, 2 ** 31, -1, 0.5]) {
      for (const question of [Process.mappings(pid), Process.rootOf(pid), Process.executableNamed(pid, "libc.so.6")]) {
        assert.strictEqual(
          (await promise(Effect.flip<unknown, Process.ProcessError, never>(question))).reason,
          "NoSuchProcess"
        )
      }
    }
  })

  it("are found by the command", async () => {
    const { library, program } = build()
    await during(program, [], async (pid) => {
      const [traced] = await promise(BinaryFile.functions(library, ["traced"]))
      const args = ["elf", "offset", "--pid", String(pid), "libours.so", "traced", "--json"]
      const { status, stderr, stdout } = Command.run(args)
      assert.strictEqual(status, 0, stderr)
      const document: unknown = JSON.parse(stdout)
      assert.deepInclude(Array.isArray(document) ? document[0] : {}, {
        symbol: "traced",
        offset: Number(traced?.offset),
        path: library
      })
    })
  })
})

describeWith({ kind: "oracle", tools: ["cc", "unshare"], root: true }, "files of containers", () => {
  it("are reached from their root, where the same path is another file here or none", async () => {
    const { folder, library, program } = build()
    const hidden = `${folder}.hidden`
    Fs.mkdirSync(hidden)
    // Its own mount namespace, where the folder is another one.
    const script = `cp -r "${folder}/." "${hidden}" && mount --bind "${hidden}" "${folder}" && exec "${program}"`
    await during("unshare", ["--mount", "sh", "-c", script], async (pid) => {
      Fs.rmSync(library)
      const root = await promise(Process.rootOf(pid))
      assert.strictEqual(root, `/proc/${pid}/root`)
      const file = await promise(Process.executableNamed(pid, "libours.so.1"))
      const path = await promise(Process.pathOf(pid, file))
      assert.strictEqual(path, `/proc/${pid}/root${library}`)
      const [traced] = await promise(BinaryFile.functions(path, ["traced"]))
      assert.isDefined(traced)
      assert.strictEqual(
        (await promise(BinaryFile.functions(library, ["traced"], { root })))[0]?.offset,
        traced?.offset
      )
    })
  })
})
