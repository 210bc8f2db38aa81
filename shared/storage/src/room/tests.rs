use futures::FutureExt as _;
use icepress_model::Bytes;

use super::Room;

#[test]
fn as_many_bytes_enter_as_there_is_room_for_and_what_is_larger_enters_alone() {
    let room = Room::new(Bytes::mebibytes(1));
    let half = || room.enter(Bytes(1 << 19)).now_or_never();
    let first = half().unwrap();
    let second = half().unwrap();
    assert!(half().is_none());
    drop(first);
    assert!(room.enter(Bytes::mebibytes(9)).now_or_never().is_none());
    drop(second);
    let all = room.enter(Bytes::mebibytes(9)).now_or_never().unwrap();
    assert!(room.enter(Bytes(0)).now_or_never().is_none());
    drop(all);
    assert!(half().is_some());
}
