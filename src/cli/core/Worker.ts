/**
 * A thread of `core check`: takes items of each work that it is sent. In the bundled command it is a file of its own.
 */
import { parentPort, workerData } from "node:worker_threads"
import * as Checker from "./Checker.ts"

const isSetup = (value: unknown): value is Checker.Setup =>
  typeof value === "object" && value !== null && "objects" in value && "kernels" in value

/** What a thread is sent: the work, and the counter of its items. */
interface Task {
  readonly work: Checker.Work
  readonly next: Int32Array
}

const isTask = (value: unknown): value is Task =>
  typeof value === "object" && value !== null && "work" in value && "next" in value && value.next instanceof Int32Array

const setup: unknown = workerData

if (parentPort !== null && isSetup(setup)) {
  const port = parentPort
  const checker = Checker.make(setup)
  port.on("message", (task: unknown) => {
    if (!isTask(task)) return
    const { next, work } = task
    const count = Checker.itemsOf(setup, work)
    for (let position = Checker.take(next, count); position !== undefined; position = Checker.take(next, count)) {
      port.postMessage({ position, answer: checker.answer(work, position) })
    }
  })
}
