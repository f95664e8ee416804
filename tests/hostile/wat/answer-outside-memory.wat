;; Answers a text that lies outside its memory.
(module
  (memory (export "memory") 2)
  (global $at i32 (i32.const 0xfffffff0)) ;; harmless: 1024
  (data (i32.const 1024) "{}")
  (global $heap (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8)))))
  (func (export "opsiq:plugin/actions@0.1.0#invoke") (param i32 i32 i32 i32) (result i32)
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (global.get $at))
    (i32.store (i32.const 24) (i32.const 2))
    (i32.const 16)))
