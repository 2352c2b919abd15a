"""Ids: dense in time, unguessable, and of the one form that is looked up."""

import time

from app.schemas import TASK_ID
from app.services.submission import new_task_id


def test_an_id_has_the_form_that_is_looked_up() -> None:
    for _ in range(1000):
        assert TASK_ID.match(new_task_id())


def test_ids_sort_by_their_time() -> None:
    earlier = new_task_id()
    time.sleep(0.003)
    assert earlier < new_task_id()


def test_the_random_part_is_128_bits() -> None:
    alphabet = "0123456789abcdefghijklmnopqrstuv"
    numbers = []
    for _ in range(2000):
        number = 0
        for character in new_task_id():
            number = number * 32 + alphabet.index(character)
        numbers.append(number)
    seen_ones = seen_zeros = 0
    for number in numbers:
        seen_ones |= number
        seen_zeros |= ~number
    low = (1 << 128) - 1
    assert seen_ones & low == low
    assert seen_zeros & low == low
    assert abs((numbers[0] >> 128) / 1000 - time.time()) < 60
