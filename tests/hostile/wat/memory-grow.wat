;; Grows its memory to 512 MiB, and answers when it has it.
(module
  (memory (export "memory") 2)
  (data (i32.const 1024) "{}")
  (global $heap (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8)))))
  (func $ok (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (i32.const 1024))
    (i32.store (i32.const 24) (i32.const 2))
    (i32.const 16))
  (func (export "opsiq:plugin/actions@0.1.0#invoke") (param i32 i32 i32 i32) (result i32)
    (loop $more
      (if (i32.eq (memory.grow (i32.const 256)) (i32.const -1)) (then (unreachable)))
      (br_if $more (i32.lt_u (memory.size) (i32.const 8192))))
    (call $ok)))
