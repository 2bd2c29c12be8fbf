/** Virtual machines under QEMU's own emulation, which needs no KVM. */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import { toolPath } from "../support/Require.ts"

/** A machine to boot: its kernel, its initramfs, words for its command line, and where its two serial ports write. */
export interface Machine {
  readonly vmlinux: string
  readonly initramfs: string
  readonly words: ReadonlyArray<string>
  readonly console: string
  readonly results: string
  readonly limitSeconds: number
}

/** The emulator, or undefined where it is not installed. */
export const emulator = (): string | undefined => toolPath("qemu-system-x86_64")

/** How a machine ended: switched off by its guest, or stopped when its time was over, or not even started. */
export type Ended =
  | { readonly _tag: "Off"; readonly seconds: number }
  | { readonly _tag: "Failed"; readonly seconds: number; readonly why: string }

/**
 * Boots a machine and waits until it is off. One CPU: with two, the emulation of those kernels panicked now and then. The
 * console is the first serial port, results come by the second.
 */
export const boot = (machine: Machine): Promise<Ended> =>
  new Promise((resolve) => {
    const start = performance.now()
    const seconds = (): number => Math.round((performance.now() - start) / 1000)
    Fs.writeFileSync(machine.results, "")
    const child = ChildProcess.spawn(
      emulator() ?? "qemu-system-x86_64",
      [
        "-machine q35 -accel tcg -cpu max -smp 1 -m 3072 -nodefaults -display none -no-reboot".split(" "),
        ["-kernel", machine.vmlinux, "-initrd", machine.initramfs],
        ["-serial", `file:${machine.console}`, "-serial", `file:${machine.results}`],
        ["-append", machine.words.join(" ")]
      ].flat(),
      { stdio: ["ignore", "ignore", "pipe"] }
    )
    let stderr = ""
    child.stderr.on("data", (text: Buffer) => stderr += text.toString())
    let over = false
    const timer = setTimeout(() => {
      over = true
      child.kill("SIGKILL")
    }, machine.limitSeconds * 1000)
    const stop = (): boolean => child.kill("SIGKILL")
    process.once("exit", stop)
    const end = (why: string | undefined): void => {
      clearTimeout(timer)
      process.removeListener("exit", stop)
      resolve(
        why === undefined ? { _tag: "Off", seconds: seconds() } : { _tag: "Failed", seconds: seconds(), why }
      )
    }
    child.once("error", (error) => end(error.message))
    child.once("close", (status) => {
      if (over) end(`not done after ${machine.limitSeconds} s`)
      else end(status === 0 ? undefined : `qemu ended with ${status}: ${stderr.trim()}`)
    })
  })
